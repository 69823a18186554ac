"""The rounds of a search: what is tried first, what a point means, which stages train it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run.made_search import DRAFT, LAYERS, SPACE, done, facts_of, only_round, search_of

from pmd_ray.run.search.rounds import UNCHANGED, Round, beam_round, best_of, students_of, whole_rounds
from pmd_ray.spec.search_record import DEFAULT, SAMPLED, TrialState
from pmd_ray.spec.suggest import Randomly

GRADE = {"strategy": "grade", "beam": 2, "children": 3}
POINTS = {"mine": {"loss.alpha": 0.3}, "outside": {"optimiser.lr": 0.5}}


def names(each: Round) -> list[str]:
    return [point.name for point in each.queue]


def test_one_round_where_the_depth_stays_and_one_for_each_target() -> None:
    assert (only_round(search_of(budget={"trials": 7})).name, only_round(search_of()).target) == ("chain", None)
    found = list(whole_rounds(search_of(space={**SPACE, "layers": LAYERS}, budget={"trials": 7}), facts_of))
    assert [(one.name, one.target, one.trials) for one in found] == [("layers-2", 2, 7), ("layers-1", 1, 7)]
    assert only_round(search_of(budget={"hours": 1.0})).trials is None


def test_several_objectives_are_one_study_of_every_depth() -> None:
    objectives = {"objectives": ["metric", "parameters"]}
    each = only_round(search_of(space={**SPACE, "layers": LAYERS}, search=objectives, budget={"trials": 7}))
    assert (each.name, each.target, each.trials) == ("chain", None, 7)
    drawn = [each.describe(0, each.draw(Randomly(seed)), SAMPLED).layers for seed in range(40)]
    assert set(drawn) == {(4, 2), (4, 3, 2), (4, 1), (4, 3, 1), (4, 2, 1)}


def test_enqueued_points_come_first_those_outside_without_parameters() -> None:
    each = only_round(search_of(enqueue={"paper": False, "points": POINTS}))
    assert names(each) == ["default", "mine", "outside"]
    default, mine, outside = each.queue
    assert default.settings == {} and outside.params is None
    assert mine.params is not None and mine.params["mask.first"] == 0.2 and mine.params["alpha"] == 0.3
    assert each.describe(0, mine.params, SAMPLED).stages == each.describe(0, {}, "mine", mine.settings).stages
    papers = names(only_round(search_of(enqueue={"points": POINTS})))
    assert papers[0] == "default" and papers[-2:] == ["mine", "outside"] and "paper without masks" in papers


def test_a_trial_says_what_its_chain_is() -> None:
    each = only_round(search_of())
    trial = each.describe(5, {}, "mine", {"mask_rates": [0.3, 0.1], "loss.alpha": 0.3})
    assert (trial.number, trial.round, trial.origin, trial.parent) == (5, "chain", "mine", None)
    assert (trial.layers, trial.mask_rates) == ((4, 3, 1), (0.3, 0.1))
    assert (trial.alphas, trial.betas) == ((0.3, 0.3), (0.1, 0.1))
    assert trial.settings == {"mask_rates": [0.3, 0.1], "loss.alpha": 0.3}
    assert [(use.grade, use.teacher) for use in trial.stages] == [("teacher", None), ("3", "teacher"), ("1", "3")]
    assert [use.teacher_key for use in trial.stages[1:]] == [use.key for use in trial.stages[:2]]
    assert trial.state is TrialState.RUNNING


def test_a_named_point_keeps_what_differs_from_the_baseline() -> None:
    each = only_round(search_of(space={**SPACE, "layers": {**LAYERS, "targets": [1]}}))
    paper = {"layers": [4, 3, 1], "mask_rates": [0.3, 0.0], "loss.alpha": 0.1, "loss.beta": 0.2}
    trial = each.describe(0, {}, "paper", paper)
    assert trial.settings == {"mask_rates": [0.3, 0.0], "loss.beta": 0.2}
    assert trial.stages == each.describe(0, {}, SAMPLED, paper).stages
    shorter = {"layers": [4, 1], "mask_rates": [0.3]}
    assert each.describe(0, {}, "paper", shorter).settings == shorter


def test_controls_of_the_baseline_are_no_stage_of_a_trial() -> None:
    search = search_of(drafts=({**DRAFT, "controls": True}, {"controls": False}))
    assert len(only_round(search).describe(0, {}, DEFAULT, {}).stages) == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_what_is_drawn_is_described_and_trained_alike(seed: int, deep: bool) -> None:
    search = search_of(space={**SPACE, "layers": LAYERS})
    each = list(whole_rounds(search, facts_of))[deep]
    params = each.draw(Randomly(seed))
    trial = each.describe(0, params, SAMPLED)
    assert trial.settings == each.settings_of(params) and trial.layers[-1] == each.target
    jobs = each.jobs_of(trial)
    assert [(job.key, job.teacher_key) for job in jobs] == [(use.key, use.teacher_key) for use in trial.stages]
    assert [job.grade.mask.rate for job in jobs[1:]] == list(trial.mask_rates)
    assert all(job.chain == jobs[0].chain and job.control_of is None for job in jobs)


def test_chains_share_the_stages_before_they_part() -> None:
    each = only_round(search_of())
    one, other, all_new = (
        each.describe(number, {}, SAMPLED, laid)
        for number, laid in enumerate(({}, {"grades.1.loss.alpha": 0.3}, {"optimiser.lr": 0.01}))
    )
    assert [a.key == b.key for a, b in zip(one.stages, other.stages, strict=True)] == [True, True, False]
    assert not {use.key for use in all_new.stages} & {use.key for use in one.stages}


def test_a_grid_asks_for_every_point_once_after_the_enqueued_ones() -> None:
    each = only_round(search_of(search={"strategy": "grid"}, enqueue={"paper": False, "points": POINTS}))
    assert names(each)[:3] == ["default", "mine", "outside"] and set(names(each)[3:]) == {SAMPLED}
    points = [str(sorted(point.params.items())) for point in each.queue[3:] if point.params]
    assert len(set(points)) == len(points) == len(each.queue) - 3
    assert each.trials == 20  # of the budget, which is less
    whole = only_round(search_of(search={"sampler": "grid"}, budget={"hours": 1}))
    assert whole.trials == len(whole.queue) and whole.search.is_grid and not search_of().is_grid


def test_a_beam_asks_grade_by_grade_for_children_of_each_parent() -> None:
    search = search_of(search=GRADE)
    assert students_of(search) == 2
    first = beam_round(search, facts_of, place=1, parent=None)
    assert (first.name, first.trials, names(first)) == ("grade-1", 3, [DEFAULT])
    trial = first.describe(0, first.draw(Randomly(1)), SAMPLED)
    assert trial.layers == (4, 3) and len(first.jobs_of(trial)) == 2 and trial.parent is None
    below = beam_round(search, facts_of, place=2, parent=trial)
    assert (below.name, below.trials) == ("grade-2-under-0", 3)
    child = below.describe(3, below.draw(Randomly(2)), SAMPLED)
    assert child.parent == 0 and child.layers == (4, 3, 1) and child.stages[:2] == trial.stages
    assert trial.settings.items() <= child.settings.items()


def test_only_the_baseline_itself_is_the_default_of_a_beam() -> None:
    search = search_of(search=GRADE)
    first = beam_round(search, facts_of, place=1, parent=None)
    default = first.describe(0, {}, DEFAULT, {})
    other = first.describe(1, {}, SAMPLED, {"grades.3.mask.rate": 0.1})
    below = beam_round(search, facts_of, place=2, parent=default)
    assert names(below) == [DEFAULT] and below.queue[0].settings == {}
    beside = beam_round(search, facts_of, place=2, parent=other)
    assert names(beside) == [UNCHANGED] and beside.queue[0].settings == other.settings
    assert beside.describe(2, {}, UNCHANGED, beside.queue[0].settings).stages[-1].grade == "1"
    without = search_of(search=GRADE, enqueue={"default": False})
    assert beam_round(without, facts_of, place=1, parent=None).queue == ()


def test_a_beam_over_a_grid_lists_the_points_of_one_grade() -> None:
    search = search_of(search={"strategy": "grade", "sampler": "grid"})
    each = beam_round(search, facts_of, place=1, parent=None)
    assert each.trials == len(each.queue) > 1 and set(names(each)) == {SAMPLED}
    keys = {each.describe(n, point.params or {}, SAMPLED).stages[-1].key for n, point in enumerate(each.queue)}
    assert len(keys) == len(each.queue)


def test_the_best_are_the_highest_the_earlier_of_equals_each_chain_once() -> None:
    each = only_round(search_of())
    alphas: list[dict[str, Any]] = [{"loss.alpha": n / 100} for n in range(6)]
    trials = [
        done(each, 0, 0.3, alphas[0]),
        done(each, 1, 0.5, alphas[1]),
        done(each, 2, 0.5, alphas[2]),
        done(each, 3, 0.4, alphas[1]),
        done(each, 4, 0.9, alphas[4], state=TrialState.PRUNED),
        done(each, 5, None, alphas[5], state=TrialState.RUNNING),
    ]
    random.Random(0).shuffle(trials)
    assert [trial.number for trial in best_of(trials, 9)] == [1, 2, 0]
    assert [trial.number for trial in best_of(trials, 1)] == [1]
    assert best_of([], 3) == [] and best_of(trials, 0) == []


@pytest.mark.parametrize("strategy", ["chain", "random"])
def test_sampling_strategies_leave_the_rest_to_the_sampler(strategy: str) -> None:
    each = only_round(search_of(search={"strategy": strategy}, enqueue={"default": False, "paper": False}))
    assert each.queue == () and each.trials == 20
