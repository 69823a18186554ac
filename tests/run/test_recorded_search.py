"""RecordedSearch: what is asked in which order, and how trials end, in plain calls and under a real Tuner."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from ray import tune
from ray.tune.search import Searcher
from run.memory_trials import (
    ROUND,
    MemoryTrials,
    draw_few,
    end,
    named,
    report,
    results,
    run_one,
    search_of,
    states,
    until_finished,
    value_of,
)

from pmd_ray.run.search.reports import Source, TrialFailed, TrialReport
from pmd_ray.run.search.schedulers import scheduler_of
from pmd_ray.run.search.trial import NO_CORE, trainable
from pmd_ray.spec.search import StrategyConfig
from pmd_ray.spec.search_record import TrialRecord, TrialState

PLAIN = StrategyConfig()
INSIDE = {"layers": "6-3", "mask.first": 0.1, "epochs": 2, "lr": 1e-4, "beta": 0.2}
DONE, PRUNED, FAILED = TrialState.DONE, TrialState.PRUNED, TrialState.FAILED


def one(trials: MemoryTrials, number: int = 0) -> TrialRecord:
    return trials.records(ROUND)[number]


def test_a_trial_is_written_before_it_starts() -> None:
    trials = MemoryTrials()
    search = search_of(trials, PLAIN)
    assert search.suggest("a") == {"number": 0}
    record = one(trials)
    assert (record.state, record.origin) == (TrialState.RUNNING, "sampled")
    assert record.params == search.study.trials[0].params
    assert set(record.distributions) == set(record.params)


def test_queued_points_come_first_and_only_once() -> None:
    trials = MemoryTrials()
    queue = [
        named("default", INSIDE),
        named("outside", None, {"mask_rates": [0.5]}),
        named("the same", dict(INSIDE)),
        named("outside again", None, {"mask_rates": [0.5]}),
    ]
    search = search_of(trials, PLAIN, queue=queue)
    for _ in range(3):
        assert run_one(search, trials)
    records = trials.records(ROUND)
    assert [record.origin for record in records] == ["default", "outside", "sampled"]
    assert [record.inside for record in records] == [True, False, True]
    assert records[0].params == INSIDE
    assert [trial.params for trial in search.study.trials] == [INSIDE, records[2].params]


def test_interrupted_trials_come_before_all_and_cost_no_budget() -> None:
    trials = MemoryTrials(limit=3)
    queue = [named("default", INSIDE), named("outside", None, {"mask_rates": [0.5]})]
    first = search_of(trials, PLAIN, queue=queue)
    for number in range(3):
        assert first.suggest(f"lost {number}")["number"] == number
    before = [record.params for record in trials.records(ROUND)]
    again = search_of(trials, PLAIN, queue=queue)
    for number in range(3):
        assert again.suggest(f"new {number}") == ({"number": 0, "kept": True} if number == 0 else {"number": number})
        end(again, f"new {number}", one(trials, number))
    assert again.suggest("more") == Searcher.FINISHED
    assert [record.params for record in trials.records(ROUND)] == before
    assert states(trials) == [DONE] * 3
    assert [trial.state.name for trial in again.study.trials] == ["COMPLETE"] * 2


def test_grids_and_exhausted_spaces_end() -> None:
    grid = MemoryTrials()
    search = search_of(grid, StrategyConfig(strategy="grid"), queue=[named("sampled", INSIDE)])
    until_finished(search, grid)
    assert len(grid.texts) == 1
    few = MemoryTrials()
    until_finished(search_of(few, StrategyConfig(sampler="random"), draw=draw_few), few)
    assert len({str(record.params) for record in few.records(ROUND)}) == len(few.texts) == 12


def test_a_repeat_is_told_at_once() -> None:
    trials = MemoryTrials(limit=12)
    search = search_of(trials, StrategyConfig(sampler="random"), draw=draw_few)
    until_finished(search, trials)
    worth: dict[str, set[tuple[str, float | None]]] = {}
    for trial in search.study.trials:
        worth.setdefault(str(trial.params), set()).add((trial.state.name, trial.value))
    assert len(search.study.trials) > len(worth) == 12
    assert all(len(found) == 1 for found in worth.values())


def test_a_repeat_of_a_running_trial_is_drawn_again() -> None:
    trials = MemoryTrials()
    search = search_of(trials, StrategyConfig(sampler="random"), draw=draw_few)
    for place in range(12):
        assert search.suggest(f"t{place}") == {"number": place}
    assert search.suggest("none left") == Searcher.FINISHED
    assert len({str(record.params) for record in trials.records(ROUND)}) == 12
    assert {trial.state.name for trial in search.study.trials} == {"RUNNING", "FAIL"}


def test_how_trials_end() -> None:
    trials = MemoryTrials()
    search = search_of(trials, PLAIN, reason_of=lambda number: f"reason {number}")
    for how in ("done", "pruned", "failed"):
        (record,) = [one(trials, search.suggest(how)["number"])]
        end(search, how, record, how)
    done, pruned, failed = trials.records(ROUND)
    assert (done.state, done.value, done.standard_error) == (DONE, pytest.approx(value_of(done.params)), 0.01)
    assert (done.parameters, done.latency_ms, done.seconds, done.reason) == (1000, 1.5, 60.0, "")
    assert [found.epoch for found in done.reports] == [3, 4, 5]
    # The report on which Tune stopped it comes with its end.
    assert (pruned.state, pruned.value, len(pruned.reports), pruned.reason) == (PRUNED, None, 2, "reason 1")
    assert (failed.state, failed.value, len(failed.reports), failed.reason) == (FAILED, None, 1, "reason 2")
    told = search.study.trials
    assert [trial.state.name for trial in told] == ["COMPLETE", "PRUNED", "FAIL"]
    assert told[0].intermediate_values == {found.epoch: found.value for found in done.reports}
    assert told[1].value == pruned.reports[-1].value


def test_calls_in_any_order_are_no_error() -> None:
    trials = MemoryTrials()
    search = search_of(trials, PLAIN)
    search.suggest("a")
    last = list(results(0, 0.4))[-1]
    search.on_trial_result("unknown", last)
    search.on_trial_complete("unknown", result=last)
    search.on_trial_result("a", last)
    search.on_trial_result("a", last)
    search.on_trial_complete("a", error=True)
    text = dict(trials.texts)
    search.on_trial_result("a", report(0, 1, 0.1))
    search.on_trial_complete("a", result=last)
    search.on_trial_complete("a", error=True)
    assert trials.texts == text
    assert (one(trials).state, one(trials).value, len(one(trials).reports)) == (DONE, 0.4, 1)


def test_an_end_without_any_report() -> None:
    trials = MemoryTrials()
    search = search_of(trials, PLAIN)
    for name, more in {"a": {}, "b": {"result": {"trial_id": "b", "done": True}}, "c": {"error": True}}.items():
        search.suggest(name)
        search.on_trial_complete(name, **more)
    assert states(trials) == [PRUNED, PRUNED, FAILED]
    assert all(record.reason for record in trials.records(ROUND))


@pytest.mark.parametrize(
    ("config", "bad", "word"),
    [
        (PLAIN, {"value": float("nan")}, "metric is nan"),
        (StrategyConfig(objectives=("metric", "latency")), {"latency_ms": None}, "latency is None"),
    ],
)
def test_no_finite_result_is_a_failure(config: StrategyConfig, bad: dict[str, Any], word: str) -> None:
    trials = MemoryTrials()
    search = search_of(trials, config)
    search.suggest("a")
    search.on_trial_result("a", report(0, 1, float("inf")))
    search.on_trial_complete("a", result={**report(0, 3, 0.5), **bad})
    assert one(trials).state is FAILED
    assert word in one(trials).reason
    assert search.study.trials[0].state.name == "FAIL"
    assert run_one(search_of(trials, config), trials)


def test_an_epoch_and_the_grade_it_ends_are_two_reports() -> None:
    """Optuna keeps the first value of a step, the record both."""
    trials = MemoryTrials()
    search = search_of(trials, PLAIN)
    search.suggest("a")
    search.on_trial_result("a", report(0, 1, 0.3))
    search.on_trial_result("a", report(0, 1, 0.3))
    search.on_trial_result("a", report(0, 1, 0.35, grade_done=True))
    search.on_trial_complete("a", result=report(0, 3, 0.4, grade_done=True))
    assert [(found.epoch, found.value) for found in one(trials).reports] == [(3, 0.3), (3, 0.35), (5, 0.4)]
    assert search.study.trials[0].intermediate_values == {3: 0.3, 5: 0.4}
    rebuilt = search_of(trials, PLAIN).study.trials[0]
    assert (rebuilt.intermediate_values, rebuilt.value) == ({3: 0.3, 5: 0.4}, 0.4)


def test_nothing_is_saved_beside_the_records(tmp_path: Path) -> None:
    search = search_of(MemoryTrials(), PLAIN)
    search.save_to_dir(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def cheap() -> Source:
    """Three epochs and an end; trial 4 fails, odd ones are poor."""
    worth = {number: (0.1 if number % 2 else 0.5) + number / 1000 for number in range(12)}
    passed = {number: [TrialReport.of_result(one) for one in results(number, worth[number])] for number in worth}

    # Made here, so that it travels to Ray's processes, which cannot import tests, by value.
    class Cheap:
        def reports(self, number: int) -> Iterator[TrialReport]:
            for one in passed[number]:
                if number == 4 and one.grade_epoch == 2:
                    raise TrialFailed("student: the loss is not a number")
                yield one

    return Cheap()


@pytest.mark.ray
def test_under_a_real_tuner(
    ray_running: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    config = StrategyConfig.model_validate({"pruner": "asha", "grace_epochs": 1, "reduction": 2, "startup": 4})
    trials = MemoryTrials(limit=12)
    scheduler = scheduler_of(config, seed=0, depths_vary=True)
    search = search_of(trials, config, queue=[named("default", INSIDE)], reason_of=scheduler.reason_of)
    with caplog.at_level(logging.WARNING):
        tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, source=cheap()), NO_CORE),
            tune_config=tune.TuneConfig(
                search_alg=search, scheduler=scheduler, num_samples=-1, max_concurrent_trials=2, reuse_actors=True
            ),
            run_config=tune.RunConfig(name="t", storage_path=str(tmp_path), verbose=0),
        ).fit()
    records = trials.records(ROUND)
    assert [record.number for record in records] == list(range(12))
    assert records[4].state is FAILED
    assert records[4].reason == "student: the loss is not a number"
    for record in records:
        match record.state:
            case TrialState.DONE:
                assert record.value == pytest.approx(record.number / 1000 + (0.1 if record.number % 2 else 0.5))
                assert len(record.reports) == 3
            case TrialState.PRUNED:
                assert record.number % 2
                assert re.match(r"value 0\.\d+ at epoch [12] of the last grade is below the best half", record.reason)
    assert states(trials).count(PRUNED) >= 3
    assert {record.state for record in records if record.number % 2 == 0} == {DONE, FAILED}
    places = sorted(place for record in records for place in (record.asked, record.told))
    assert places == list(range(24))
    kinds = {record.state: trial.state for record, trial in zip(records, search.study.trials, strict=True)}
    State = optuna.trial.TrialState
    assert kinds == {DONE: State.COMPLETE, PRUNED: State.PRUNED, FAILED: State.FAIL}
    said = [entry.getMessage() for entry in caplog.records]
    assert not [line for line in said if "optuna" in line.lower() or "Error stopping" in line or "slow" in line.lower()]
