"""Early ends: who is compared with whom, in which words, and alike after a resume."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray import cloudpickle
from run.memory_trials import describe, report
from scipy.stats import wilcoxon

from pmd_ray.run.search.reports import TrialFailed
from pmd_ray.run.search.schedulers import HalvingScheduler, Reasons, WilcoxonScheduler, results_of, scheduler_of
from pmd_ray.run.search.wilcoxon import PairedLooks, p_worse
from pmd_ray.spec.search import StrategyConfig
from pmd_ray.spec.search_record import Report, TrialRecord, TrialState

T = 200


def config_of(pruner: str, **more: Any) -> StrategyConfig:
    return StrategyConfig.model_validate({"pruner": pruner, **more})


def trial_of(number: int) -> Any:
    return SimpleNamespace(trial_id=f"id{number}", config={"number": number}, pickled_error_file=None)


def run(scheduler: Reasons, number: int, values: list[float], **more: Any) -> int:
    """Report epochs until the end or a stop; how many there were."""
    trial = trial_of(number)
    scheduler.on_trial_add(None, trial)
    for epoch, value in enumerate(values, 1):
        result = report(number, epoch, value, epochs=len(values), **more)
        if scheduler.on_trial_result(None, trial, result) == "STOP":
            break
    scheduler.on_trial_complete(None, trial, result)
    return epoch


@pytest.mark.parametrize("pruner", ["asha", "wilcoxon"])
def test_the_default_runs_to_its_end_and_so_does_what_is_trained_already(pruner: str) -> None:
    config = config_of(pruner, p_threshold=0.01)
    for more, kept in (({}, {}), ({"last": True}, {}), ({}, {"kept": True})):
        scheduler = scheduler_of(config, seed=0, depths_vary=True)
        run(scheduler, 0, [0.9] * 3, rr=tuple(ranks(0, 0.2)))
        poor = trial_of(1)
        poor.config.update(kept)
        scheduler.on_trial_add(None, poor)
        action = scheduler.on_trial_result(None, poor, report(1, 1, 0.1, rr=tuple(ranks(1, 0.0)), **more))
        assert action == ("CONTINUE" if more or kept else "STOP")
        assert bool(scheduler.reason_of(1)) is not bool(more or kept)


def rising(top: float, epochs: int = 9) -> list[float]:
    return [top * epoch / epochs for epoch in range(1, epochs + 1)]


def test_by_name() -> None:
    made = {
        pruner: scheduler_of(config_of(pruner), seed=0, depths_vary=False) for pruner in ("none", "asha", "wilcoxon")
    }
    assert [type(one) for one in made.values()] == [Reasons, HalvingScheduler, WilcoxonScheduler]
    several = config_of("none", objectives=["metric", "cost"])
    assert type(scheduler_of(several, seed=0, depths_vary=False)) is Reasons
    assert all(
        one.set_search_properties(None, None) and one.set_search_properties("value", "max") for one in made.values()
    )
    assert not made["asha"].set_search_properties("loss", "min")


def test_no_pruner_stops_nobody() -> None:
    scheduler = scheduler_of(config_of("none"), seed=0, depths_vary=False)
    assert [run(scheduler, number, rising(top)) for number, top in enumerate([0.9, 0.1, 0.01])] == [9, 9, 9]


def test_asha_stops_at_rungs_and_says_why() -> None:
    scheduler = scheduler_of(config_of("asha", reduction=3), seed=0, depths_vary=True)
    lengths = [run(scheduler, number, rising(top)) for number, top in enumerate([0.9, 0.6, 0.45, 0.95, 0.09])]
    assert lengths == [9, 1, 1, 9, 1]
    assert scheduler.reason_of(3) == ""
    # Of 0.1, 0.0667, 0.05 and 0.1056 the upper third begins at their 66.7th percentile.
    assert scheduler.reason_of(4) == (
        "value 0.01 at epoch 1 of the last grade is below the best third of 4 seen there (0.1)"
    )


def test_grace_and_earlier_grades_are_not_compared() -> None:
    patient = scheduler_of(config_of("asha", grace_epochs=4), seed=0, depths_vary=True)
    assert [run(patient, number, rising(top)) for number, top in enumerate([0.9, 0.1])] == [9, 4]
    for pruner in ("asha", "wilcoxon"):
        scheduler = scheduler_of(config_of(pruner), seed=0, depths_vary=True)
        early = [run(scheduler, number, [top] * 3, target_epoch=0) for number, top in enumerate([0.9, 0.1])]
        assert early == [3, 3]


@pytest.mark.parametrize(
    ("prune_on", "depths_vary", "stops"),
    [("any", True, True), ("target", False, False), (None, False, True), (None, True, False)],
)
def test_where_trials_are_compared(prune_on: str | None, depths_vary: bool, stops: bool) -> None:
    scheduler = scheduler_of(config_of("asha", prune_on=prune_on), seed=0, depths_vary=depths_vary)
    lengths = [run(scheduler, number, [top] * 3, target_epoch=0) for number, top in enumerate([0.9, 0.1])]
    assert lengths == ([3, 1] if stops else [3, 3])
    assert ("at epoch 3 is" in scheduler.reason_of(1)) is stops


def test_nobody_is_stopped_for_having_had_all_epochs() -> None:
    scheduler = scheduler_of(config_of("asha"), seed=0, depths_vary=True)
    assert run(scheduler, 0, rising(0.9, epochs=2000)) == 2000


def recorded(number: int, values: list[float], state: TrialState) -> TrialRecord:
    reports = tuple(
        Report(epoch=2 + epoch, grade="student", grade_epoch=epoch, value=value)
        for epoch, value in enumerate(values, 1)
    )
    teacher = Report(epoch=2, grade="teacher", grade_epoch=2, value=0.8, grade_done=True)
    return describe(number, {"a": number}, "sampled", None).model_copy(
        update={"reports": (teacher, *reports), "state": state}
    )


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_a_resumed_search_prunes_like_an_undisturbed_one(pruner: str) -> None:
    tops = [0.9, 0.5, 0.7, 0.2, 0.91, 0.6, 0.92, 0.3, 0.93, 0.1, 0.88, 0.94]
    config = config_of(pruner, reduction=2)
    whole = scheduler_of(config, seed=7, depths_vary=True)
    lengths = [run(whole, number, rising(top)) for number, top in enumerate(tops)]
    assert min(lengths) == 1 < max(lengths) == 9
    for cut in range(len(tops)):
        past = [
            recorded(number, rising(tops[number])[:length], TrialState.DONE if length == 9 else TrialState.PRUNED)
            for number, length in enumerate(lengths[:cut])
        ]
        results = [result for record in past for result in results_of(record)]
        again = scheduler_of(config, seed=7, depths_vary=True, past=results)
        assert [run(again, number, rising(tops[number])) for number in range(cut, len(tops))] == lengths[cut:]


def test_hyperband_spreads_trials_over_brackets() -> None:
    scheduler = scheduler_of(config_of("hyperband"), seed=0, depths_vary=True)
    assert isinstance(scheduler, HalvingScheduler)
    places = [scheduler._brackets.index(scheduler._bracket(number)) for number in range(200)]
    assert places == [scheduler._brackets.index(scheduler._bracket(number)) for number in range(200)]
    counts = np.bincount(places, minlength=3)
    assert counts[0] > counts[1] > counts[2] > 0


def test_reports_of_a_record() -> None:
    found = list(results_of(recorded(3, [0.1, 0.2], TrialState.DONE)))
    assert [one["target_epoch"] for one in found] == [0, 1, 2]
    assert [one["finished"] for one in found] == [False, False, True]
    assert {one["number"] for one in found} == {3}


def ranks(seed: int, shift: float, spread: float = 0.05) -> list[float]:
    """Reciprocal ranks of the same triples, moved by a shift, with noise of a trial's own."""
    shared = np.random.default_rng(0).random(T)
    return list(shared + shift + spread * np.random.default_rng(seed).standard_normal(T))


def wilcoxon_run(scheduler: Reasons, number: int, shift: float, *, epochs: int = 4, fails: bool = False) -> int:
    trial = trial_of(number)
    scheduler.on_trial_add(None, trial)
    for epoch in range(1, epochs + 1):
        rr = ranks(100 * number + epoch, shift)
        end = {"finished": False} if fails else {}
        result = report(number, epoch, float(np.mean(rr)), epochs=epochs, rr=tuple(rr), **end)
        if scheduler.on_trial_result(None, trial, result) == "STOP":
            break
    if fails:
        scheduler.on_trial_error(None, trial)
    else:
        scheduler.on_trial_complete(None, trial, result)
    return epoch


def test_nobody_is_compared_with_a_failed_or_removed_trial() -> None:
    scheduler = scheduler_of(config_of("wilcoxon", p_threshold=0.01), seed=0, depths_vary=True)
    assert wilcoxon_run(scheduler, 0, 0.1, fails=True) == 4
    scheduler.on_trial_add(None, trial_of(1))
    scheduler.on_trial_remove(None, trial_of(1))
    assert wilcoxon_run(scheduler, 2, 0.0) == 4
    assert wilcoxon_run(scheduler, 3, -0.05) == 1


def test_wilcoxon_stops_those_that_are_surely_worse() -> None:
    scheduler = scheduler_of(config_of("wilcoxon", grace_epochs=2, p_threshold=0.01), seed=0, depths_vary=True)
    lengths = [wilcoxon_run(scheduler, number, shift) for number, shift in enumerate([0.0, -0.05, 0.05, 0.0, 0.05])]
    # Trial 1 is worse than 0, trial 3 than 2; trial 4 is as good as 2.
    assert lengths == [4, 2, 4, 2, 4]
    assert scheduler.reason_of(3).startswith("at epoch 2 of the last grade its reciprocal ranks on 200 triples (")
    assert "below those of trial 2 there" in scheduler.reason_of(3)
    assert scheduler.reason_of(2) == ""


def test_wilcoxon_goes_on_from_earlier_reports() -> None:
    config = config_of("wilcoxon", p_threshold=0.01)
    good = [report(0, epoch, 0.5, epochs=4, rr=tuple(ranks(epoch, 0.0))) for epoch in range(1, 5)]
    assert wilcoxon_run(scheduler_of(config, seed=0, depths_vary=True, past=good), 1, -0.05) == 1
    without = [{**result, "rr": []} for result in good]
    assert wilcoxon_run(scheduler_of(config, seed=0, depths_vary=True, past=without), 1, -0.05) == 4


def test_p_is_scipys_and_never_a_reason_where_ranks_are_equal() -> None:
    ours, theirs = np.array(ranks(1, -0.01)), np.array(ranks(2, 0.0))
    assert p_worse(ours, theirs) == wilcoxon(ours, theirs, alternative="less", zero_method="zsplit").pvalue
    assert p_worse(ours, theirs) + p_worse(theirs, ours) == pytest.approx(1.0, abs=1e-3)
    assert p_worse(ours, ours) == 1.0


def test_rivals() -> None:
    looks = PairedLooks(0.1)
    assert not looks.add(0, 1, [])
    assert looks.rival(0, 1) is None
    looks.running = {0, 1, 2}
    for number, shift in enumerate([0.0, 0.2, 0.1]):
        assert looks.add(number, 1, ranks(number, shift))
        assert not looks.add(number, 1, ranks(number, 1.0))
    assert (looks.rival(0, 1), looks.rival(1, 1)) == (1, 2)
    looks.running = {0, 2}
    assert looks.rival(0, 1) == 2
    looks.running.clear()
    assert looks.rival(0, 1) is None
    looks.finish(2, 0.3)
    assert looks.rival(0, 1) == 2
    looks.finish(0, 0.4)
    # It was behind there and best in the end: nobody is stopped for being no worse than it was.
    assert looks.rival(1, 1) == 0
    assert looks.verdict(1, 1) is None
    assert looks.verdict(2, 1) is None


def test_ranks_that_do_not_pair_are_left_alone() -> None:
    looks = PairedLooks(0.1, running={0, 1, 2})
    looks.add(0, 1, ranks(0, 1.0))
    looks.add(1, 1, ranks(1, 0.0)[:-1])
    looks.add(2, 1, [float("nan")] * T)
    assert looks.verdict(1, 1) is None
    assert looks.verdict(2, 1) is None


class Wrapped(Exception):
    """As Ray wraps an error of a task."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (Wrapped(TrialFailed("grade-6: out of memory")), "grade-6: out of memory"),
        (Wrapped(KeyError("x")), "KeyError: 'x'"),
        (RuntimeError("The actor died.\n\tpid: 7"), "RuntimeError: The actor died."),
        (None, ""),
    ],
)
def test_failures_have_reasons(raised: Exception | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "error.pkl"
    if raised is not None:
        file.write_bytes(cloudpickle.dumps(raised))
    for pruner in ("none", "asha", "wilcoxon"):
        scheduler = scheduler_of(config_of(pruner), seed=0, depths_vary=False)
        trial = SimpleNamespace(config={"number": 5}, pickled_error_file=str(file))
        scheduler.on_trial_add(None, trial)
        scheduler.on_trial_error(None, trial)
        assert scheduler.reason_of(5) == said


def test_an_error_that_cannot_be_read_has_no_reason(tmp_path: Path) -> None:
    (tmp_path / "error.pkl").write_bytes(b"no pickle")
    for path in (None, str(tmp_path / "none.pkl"), str(tmp_path / "error.pkl")):
        scheduler = scheduler_of(config_of("none"), seed=0, depths_vary=False)
        scheduler.on_trial_error(None, SimpleNamespace(config={"number": 5}, pickled_error_file=path))
        assert scheduler.reason_of(5) == ""
