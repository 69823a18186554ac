"""What the confirming study says of the best: one sentence, with difference, interval, p and seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from report.search_made import DRAFT, make_record
from report.synthetic_study import Made, make_study

from pmd_ray.report.best_file import best_chain, best_trial
from pmd_ray.report.contents import Contents, contents
from pmd_ray.report.search_confirmed import confirmed_sentences, sentence_for
from pmd_ray.report.sheet import signed
from pmd_ray.spec.search_record import SearchRecord, TrialRecord
from pmd_ray.spec.study_record import RunRecord, StageUse

pytestmark = pytest.mark.whole


def confirming_study(folder: Path, record: SearchRecord, *, seeds: tuple[int, ...] = (1, 2, 3)) -> Made:
    """The best of both depths beside the default, over fresh seeds."""
    linear = {"optimiser.schedule": "linear"}
    best = [found(record, target) for target in (3, 2)]
    file = {
        "baseline": {**{key: value for key, value in DRAFT.items() if key != "optimiser"}},
        "settings": {"optimiser": {**DRAFT["optimiser"], **{"schedule": "linear"}}},
        "variants": {f"best_{trial.layers[-1]}": {**trial.settings, **linear} for trial in best if trial.settings},
        "seeds": list(seeds),
    }
    text = yaml.safe_dump(file, sort_keys=False)
    return make_study(folder, file=text, name="confirm", skill=skill, without=lambda run, use: False)


def skill(run: RunRecord, use: StageUse) -> float:
    """The found chain is much better."""
    return 1.0 + 0.12 * use.layers + (0.8 if run.variant != "baseline" else 0.0)


def found(record: SearchRecord, target: int) -> TrialRecord:
    trial = best_trial(record, target=target)
    assert trial is not None
    return trial


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    made = confirming_study(tmp_path_factory.mktemp("confirmed"), make_record())
    return contents(made.record, made.store)


def test_the_sentence_holds_the_comparison(confirmed: Contents) -> None:
    (told,) = confirmed_sentences(confirmed)
    comparison = confirmed.answers[0].comparison
    assert told.variant == "best_3" and comparison is not None
    gap = comparison.difference
    assert comparison.verdict.value == "too few seeds for the exact test"  # three seeds
    for words in (
        "On test, best_3 has too few seeds for an exact test against the default",
        f"MRR {signed(gap.mean)}",
        f"95 % interval [{signed(gap.low)}, {signed(gap.high)}]",
        f"p = {comparison.p:.2f}",
        "3 seeds.",
    ):
        assert words in told.sentence


def test_each_best_has_its_own_sentence_by_its_chain(confirmed: Contents) -> None:
    record = make_record()
    assert sentence_for(confirmed, best_chain(record, found(record, 3))) == confirmed_sentences(confirmed)[0].sentence
    assert "It is the default itself" in str(sentence_for(confirmed, best_chain(record, found(record, 2))))
    assert sentence_for(confirmed, best_chain(record, record.trials[0])) is None


def test_an_unfinished_confirmation_says_so(tmp_path: Path) -> None:
    made = confirming_study(tmp_path, make_record(), seeds=(1,))
    made.store.artifacts.remove(made.key("best_3", "3", 1))
    (told,) = confirmed_sentences(contents(made.record, made.store))
    assert told.sentence == "best_3 cannot be compared with the default yet: no seed for which both are complete."


def test_one_seed_is_no_test(tmp_path: Path) -> None:
    made = confirming_study(tmp_path, make_record(), seeds=(1,))
    (told,) = confirmed_sentences(contents(made.record, made.store))
    assert "beside the default (1 seed, no test)" in told.sentence and ", 1 seed." in told.sentence
    assert "p =" not in told.sentence
