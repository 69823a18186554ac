"""Trials that the machine failed are asked again, with their own points, by whoever resumes the search."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from ray.tune.search import Searcher
from reference import inline_search
from reference.toy_searches import options_in, prepared, write_search
from run.made_search import record_of as empty_record
from run.made_search import search_of as made_search
from run.memory_trials import ROUND, draw, draw_few, end, search_of

from pmd_ray.run.search.log import SearchLog
from pmd_ray.run.search.rebuilt import replayed
from pmd_ray.run.search.recorded import RecordedSearch
from pmd_ray.run.search.search import Searched, run_search
from pmd_ray.run.stage_job import Ending, StageJob, StageOutcome
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.search import StrategyConfig
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState
from pmd_ray.store.store import Store

DONE, FAILED, RUNNING = TrialState.DONE, TrialState.FAILED, TrialState.RUNNING
PLAIN = StrategyConfig(sampler="random")


class Forgetful:
    """A store that forgets: the log has its record."""

    def register(self, name: str, record_json: str) -> None:
        SearchRecord.model_validate_json(record_json)


class Run:
    """One run of a search: a log over what earlier runs left, and a searcher over the log."""

    def __init__(
        self,
        before: SearchRecord,
        *,
        trials: int,
        kind: FailureKind | None = FailureKind.OUT_OF_MEMORY,
        config: StrategyConfig = PLAIN,
        space: Any = draw,
    ) -> None:
        self.log = SearchLog(SearchRecord.model_validate_json(before.model_dump_json()), Forgetful())  # type: ignore[arg-type]
        self.log.begin_round(ROUND, trials=trials)
        self.search: RecordedSearch = search_of(self.log, config, draw=space, failure_of=lambda number: kind)  # type: ignore[arg-type]

    def ask(self, name: str = "once") -> TrialRecord | None:
        asked = self.search.suggest(name)
        return None if asked == Searcher.FINISHED else self.trial(asked["number"])

    def trial(self, number: int) -> TrialRecord:
        (found,) = (trial for trial in self.log.records(ROUND) if trial.number == number)
        return found

    def all(self, *, fail: tuple[int, ...] = ()) -> list[int]:
        """End every trial as soon as it is asked for; their numbers."""
        asked = []
        while (trial := self.ask()) is not None:
            asked.append(trial.number)
            end(self.search, "once", trial, "failed" if trial.number in fail else "done")
        return asked

    @property
    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.log.records(ROUND)]


def started() -> SearchRecord:
    return empty_record(made_search())


def test_a_trial_that_the_machine_failed_is_asked_again_with_its_own_point() -> None:
    first = Run(started(), trials=3)
    assert first.all(fail=(1,)) == [0, 1, 2] and first.states == [DONE, FAILED, DONE]
    failed = first.trial(1)
    assert failed.failure is FailureKind.OUT_OF_MEMORY and failed.reason
    second = Run(first.log.record, trials=3)
    assert second.states == [DONE, RUNNING, DONE]
    assert second.all() == [1] and second.states == [DONE] * 3, "whatever the budget says, and nothing else"
    again = second.trial(1)
    assert (again.params, again.stages, again.asked) == (failed.params, failed.stages, failed.asked)
    assert (again.failure, again.reason) == (None, "") and again.value is not None
    (earlier,) = again.earlier
    assert (earlier.told, earlier.failure, earlier.reason) == (failed.told, failed.failure, failed.reason)
    assert earlier.told < earlier.again < (again.told or 0)
    assert Run(second.log.record, trials=3).all() == []


def test_it_is_asked_again_once_in_a_run_and_in_the_next() -> None:
    record = Run(started(), trials=1)
    assert record.all(fail=(0,)) == [0]
    for tries in (1, 2):
        record = Run(record.log.record, trials=1)
        assert record.all(fail=(0,)) == [0] and record.states == [FAILED]
        assert len(record.trial(0).earlier) == tries


@pytest.mark.parametrize("kind", [FailureKind.NOT_FINITE, FailureKind.BUG, None])
def test_a_failure_of_the_point_stays(kind: FailureKind | None) -> None:
    first = Run(started(), trials=2, kind=kind)
    assert first.all(fail=(0,)) == [0, 1] and first.trial(0).failure is kind
    second = Run(first.log.record, trials=2, kind=kind)
    assert second.all() == [] and second.log.record.trials == first.log.record.trials


@pytest.mark.parametrize("round", ["layers-2", "grade-1"])
def test_only_the_round_that_begins_is_looked_at(round: str) -> None:
    first = Run(started(), trials=1)
    first.all(fail=(0,))
    log = SearchLog(first.log.record, Forgetful())  # type: ignore[arg-type]
    log.begin_round(round, trials=1)
    assert [trial.state for trial in log.records(ROUND)] == [FAILED]


@pytest.mark.parametrize("space", [draw, draw_few])
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_what_was_drawn_before_and_after_is_derived_again(sampler: str, space: Any) -> None:
    """Up to three trials at once over five runs; a third of the trials fails, some of them twice."""
    config = StrategyConfig.model_validate({"sampler": sampler, "startup": 4})
    luck, record = Random(7), started()
    for limit in (6, 9, 12, 12, 12):
        run, running = Run(record, trials=limit, config=config, space=space), dict[str, TrialRecord]()
        for step in range(200):
            trial = run.ask(f"t{step}") if len(running) < 3 and luck.random() < 0.6 else None
            if trial is not None:
                running[f"t{step}"] = trial
            elif running:
                name = luck.choice(sorted(running))
                end(run.search, name, running.pop(name), "failed" if luck.random() < 0.35 else "done")
        record = run.log.finish()
    trials = run.log.records(ROUND)
    assert sum(bool(trial.earlier) for trial in trials) >= 3 and RUNNING not in run.states
    assert space is draw or any(trial.system.get("repeats") for trial in trials)
    places = [place for one in trials for place in (one.asked, one.told)]
    places += [place for one in trials for earlier in one.earlier for place in (earlier.told, earlier.again)]
    assert len(set(places)) == len(places)
    assert replayed(trials, config=config, seed=3, draw=space) == {trial.number: trial.params for trial in trials}


@pytest.mark.whole
def test_a_search_that_ran_out_of_memory_finds_on_resume_what_an_undisturbed_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = inline_search.train_job

    def runs_out(job: StageJob, *given: Any) -> StageOutcome:
        if job.grade.name != "1":
            return train(job, *given)
        return StageOutcome(key=job.key, ending=Ending.FAILED, kind=FailureKind.OUT_OF_MEMORY, message="no room")

    def searched(folder: str) -> Searched:
        options = options_in(tmp_path)
        given = prepared(
            tmp_path / "tiny.yaml", Store.open(tmp_path / folder), options, "budget.trials=2", "search.pruner=none"
        )
        with inline_search.without_ray():
            return run_search(given, tmp_path / f"{folder} run", options)

    write_search(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(inline_search, "train_job", runs_out)
        failed = searched("store").record.trials
    assert [(trial.state, trial.failure) for trial in failed] == [(FAILED, FailureKind.OUT_OF_MEMORY)] * 2
    assert all("oom: no room" in trial.reason for trial in failed)
    again, plain = searched("store"), searched("other")
    assert again.trained == len({trial.stages[-1].key for trial in failed}), "the grades before were stored"
    assert [trial.state for trial in again.record.trials] == [DONE] * 2
    assert [trial.reason for trial in again.record.trials] == [""] * 2
    assert [(one.params, one.value) for one in again.record.trials] == [
        (one.params, one.value) for one in plain.record.trials
    ]
    assert searched("store").trained == 0
