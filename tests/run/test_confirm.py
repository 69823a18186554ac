"""Which trials are trained again, and the study that compares them with the default."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run.made_search import DRAFT, LAYERS, SPACE, done, facts_of, only_round, record_of, search_of

from pmd_ray.run.search.confirm import candidates, confirming_study
from pmd_ray.run.search.rounds import beam_round, whole_rounds
from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.points import chain_of
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_chain import confirmed_chain
from pmd_ray.spec.search_record import SearchRecord, TrialState
from pmd_ray.spec.study import BASELINE, StudyConfig


def chosen(record: SearchRecord) -> list[int]:
    return [trial.number for trial in candidates(record)]


def searched(*values: float, error: float | None = 0.01, **changes: Any) -> SearchRecord:
    """The default is trial 0; the others differ in their last rate."""
    search = search_of(**changes)
    each = only_round(search)
    own = [done(each, n, value, {"loss.alpha": n / 100}, error=error) for n, value in enumerate(values, 1)]
    return record_of(search, done(each, 0, 0.9, origin="default"), *own)


def test_the_best_come_first_and_not_more_than_asked() -> None:
    assert chosen(searched(0.50, 0.52, 0.51, error=0.1, confirm={"best": 2})) == [2, 3]
    assert chosen(searched(0.50, 0.52, 0.51)) == [2]


def test_only_those_within_one_standard_error_of_the_best_come_along() -> None:
    assert chosen(searched(0.50, 0.52, 0.511, confirm={"best": 3})) == [2, 3]
    assert chosen(searched(0.50, 0.52, 0.511, error=None, confirm={"best": 3})) == [2]


def test_the_default_is_no_candidate_however_it_is_written() -> None:
    search = search_of(confirm={"best": 5})
    each = only_round(search)
    record = record_of(
        search,
        done(each, 0, 0.9, origin="default"),
        done(each, 1, 0.9, {"mask_rates": [0.2, 0.0]}),
        done(each, 2, 0.5, {"mask_rates": [0.1, 0.0]}),
    )
    assert chosen(record) == [2]


def test_equal_chains_are_one_candidate() -> None:
    search = search_of(confirm={"best": 5})
    each = only_round(search)
    twice = [done(each, number, 0.5, {"mask_rates": [0.1, 0.0]}) for number in (1, 2)]
    assert chosen(record_of(search, *twice)) == [1]


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING])
def test_only_trials_that_are_done_count(state: TrialState) -> None:
    search = search_of()
    each = only_round(search)
    record = record_of(search, done(each, 0, 0.7, {"loss.alpha": 0.3}, state=state))
    assert chosen(record) == [] and confirming_study(record) is None


def test_each_depth_has_its_own_best() -> None:
    search = search_of(space={**SPACE, "layers": LAYERS})
    deep, shallow = whole_rounds(search, facts_of)
    record = record_of(
        search,
        done(deep, 0, 0.6, {"layers": [4, 3, 2]}),
        done(deep, 1, 0.7, {"layers": [4, 2]}),
        done(shallow, 2, 0.4, {"layers": [4, 2, 1]}),
        done(shallow, 3, 0.3, {"layers": [4, 1]}),
    )
    assert chosen(record) == [1, 2]


def beam(best: int) -> tuple[SearchConfig, list[Any]]:
    """A beam of two parents with two children each."""
    search = search_of(search={"strategy": "grade", "beam": 2, "children": 2}, confirm={"best": best})
    above = beam_round(search, facts_of, place=1, parent=None)
    parents = [done(above, n, 0.9 - n / 100, {"grades.3.mask.rate": (n + 1) / 10}) for n in range(2)]
    children = []
    for place, parent in enumerate(parents):
        below = beam_round(search, facts_of, place=2, parent=parent)
        for child in range(2):
            own = {**parent.settings, "grades.1.loss.alpha": (child + 2) / 10}
            children.append(done(below, 2 + 2 * place + child, 0.5 + (2 * place + child) / 1000, own))
    return search, [*parents, *children]


def test_children_of_several_parents_are_one_choice() -> None:
    search, trials = beam(best=1)
    assert chosen(record_of(search, *trials)) == [5]
    search, trials = beam(best=3)
    assert chosen(record_of(search, *trials)) == [5, 4, 3]


def test_a_beam_that_did_not_reach_its_last_grade_has_none() -> None:
    search, trials = beam(best=1)
    assert chosen(record_of(search, *trials[:2])) == []


def test_the_study_trains_default_and_best_over_fresh_seeds_with_the_same_schedule() -> None:
    record = searched(0.50, 0.52, metric="hits@1", confirm={"seeds": [4, 5, 6]})
    study = confirming_study(record)
    assert study is not None
    assert [variant.name for variant in study.variants] == [BASELINE, "trial-2"]
    assert study.seeds == (4, 5, 6) and len(list(study.runs())) == 6
    for variant in study.variants:
        (arm,) = variant.arms
        assert {grade.optimiser.schedule for grade in arm.chain.grades} == {"linear"}
    assert study.variant("trial-2").arms[0].chain.grades[-1].loss.alpha == 0.02
    assert study.variant("trial-2").difference == {"loss.alpha": 0.02}
    (question,) = study.compare
    assert (question.metric, question.alternative, question.pairs) == ("hits@1", "greater", (("trial-2", BASELINE),))


def test_a_variant_does_not_repeat_the_baseline() -> None:
    search = search_of()
    each = only_round(search)
    paper = {"layers": [4, 3, 1], "mask_rates": [0.3, 0.0], "loss.alpha": 0.1, "loss.beta": 0.2}
    study = confirming_study(record_of(search, done(each, 0, 0.5, paper, origin="paper")))
    assert study is not None
    assert study.variant("trial-0").difference == {"mask_rates": [0.3, 0.0], "loss.beta": 0.2}


def test_other_settings_of_the_confirmation_are_laid_over_both() -> None:
    record = searched(0.5, confirm={"settings": {"optimiser.epochs": 7, "optimiser.schedule": "cosine"}})
    study = confirming_study(record)
    assert study is not None
    optimisers = {grade.optimiser for variant in study.variants for grade in variant.arms[0].chain.grades}
    assert {(one.epochs, one.schedule) for one in optimisers} == {(7, "cosine")}


def test_what_the_confirmation_makes_equal_is_trained_once() -> None:
    """A schedule that was found, and what only that schedule reads, give way to the confirmation's."""
    search = search_of(confirm={"best": 3})
    each = only_round(search)
    same = [
        done(each, 0, 0.5, {"optimiser.schedule": "cosine"}),
        done(each, 1, 0.5, {"optimiser.decay_share": 0.5}),
    ]
    assert chosen(record_of(search, *same)) == [0, 1]
    assert confirming_study(record_of(search, *same)) is None
    other = done(each, 2, 0.5, {"optimiser.decay_share": 0.5, "loss.alpha": 0.3})
    study = confirming_study(record_of(search, *same, other))
    assert study is not None and [variant.name for variant in study.variants] == [BASELINE, "trial-2"]


def test_nothing_to_confirm() -> None:
    assert confirming_study(searched(0.5, confirm={"best": 0})) is None
    assert confirming_study(searched()) is None
    assert confirming_study(record_of(search_of())) is None


TRIALS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(list(TrialState)), st.integers(0, 6), st.integers(0, 3)), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(TRIALS, st.integers(0, 4))
def test_whatever_was_tried_the_choice_keeps_its_rules(
    trials: list[tuple[int, TrialState, int, int]], best: int
) -> None:
    search = search_of(confirm={"best": best})
    each = only_round(search)
    made = []
    for number, (alpha, state, value, error) in enumerate(trials):
        laid = {"loss.alpha": alpha / 10} if alpha else {}
        end = value / 10 if state is TrialState.DONE else None
        made.append(done(each, number, end, laid, state=state, error=error / 10))
    found = candidates(record_of(search, *made))
    default = meaning(chain_of(search, {}))
    others = [one for one in made if one.value is not None and meaning(chain_of(search, one.settings)) != default]
    assert len(found) <= best and bool(found) == bool(others and best)
    assert len({one.stages for one in found}) == len(found)
    for one in found:
        assert one in others and found[0].value == max(other.value or 0.0 for other in others)
        assert (one.value or 0.0) >= (found[0].value or 0.0) - (found[0].standard_error or 0.0)


def test_the_papers_setting_stands_beside_the_default_where_it_differs() -> None:
    assert "paper" not in (v.name for v in _study(searched(0.5, 0.52, enqueue={"paper": True})).variants)
    record = searched(0.5, 0.52, enqueue={"paper": True}, drafts=({**DRAFT, "loss": {"alpha": 0.3}},))
    study = _study(record)
    assert [variant.name for variant in study.variants] == [BASELINE, "trial-2", "paper"]
    assert [question.pairs for question in study.compare] == [(("trial-2", BASELINE),), (("trial-2", "paper"),)]
    paper = study.variant("paper").arms[0].chain
    assert {(grade.loss.alpha, grade.loss.beta) for grade in paper.grades[1:]} == {(0.1, 0.1)}
    assert paper.grades[-1].layers == 1


def test_papers_of_other_depths_are_left_out() -> None:
    search = search_of(space={**SPACE, "layers": LAYERS}, enqueue={"paper": True})
    two, one = whole_rounds(search, facts_of)
    record = record_of(search, done(two, 0, 0.5, {"layers": [4, 3, 2], "mask_rates": [0.1, 0.0]}))
    study = confirming_study(record)
    assert study is not None
    depths = {variant.name: variant.arms[0].chain.grades[-1].layers for variant in study.variants}
    assert set(depths) <= {BASELINE, "trial-0", "paper"} and depths["trial-0"] == 2
    assert depths.get("paper", 2) == 2, one.name


def _study(record: SearchRecord) -> StudyConfig:
    study = confirming_study(record)
    assert study is not None
    return study


def test_a_confirmed_chain_has_the_confirmations_settings_and_the_seeds_of_its_study() -> None:
    search = search_of(confirm={"seeds": [7, 8], "settings": {"optimiser.schedule": "linear"}})
    chain = confirmed_chain(search, {"loss.alpha": 0.3, "optimiser.schedule": "cosine"})
    assert {(grade.optimiser.schedule, grade.loss.alpha) for grade in chain.grades[1:]} == {("linear", 0.3)}
    assert chain.seed == search.seed == chain_of(search, {"seed": 7}).seed, "the search's seed is laid last"
    study = confirming_study(searched(0.5, 0.52, confirm={"seeds": [7, 8]}))
    assert study is not None and {run.chain.seed for run in study.runs()} == {7, 8}
