"""Trials kept in memory as JSON, a small space with a condition, and a plain loop in Tune's place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from math import log10
from typing import Any

from ray.tune.search import Searcher

from pmd_ray.run.search.recorded import RecordedSearch
from pmd_ray.run.search.reports import TrialReport
from pmd_ray.spec.enqueued import Enqueued
from pmd_ray.spec.keys import digest
from pmd_ray.spec.search import StrategyConfig
from pmd_ray.spec.search_record import TrialRecord, TrialState
from pmd_ray.spec.study_record import StageUse

ROUND = "chain"
SAMPLERS = ("tpe", "nsga2", "gp", "cmaes", "random")


@cache
def record_of(text: str) -> TrialRecord:
    """A record read back."""
    return TrialRecord.model_validate_json(text)


@dataclass
class MemoryTrials:
    """What a store would hold: every trial as text, and the order of asks and tells."""

    texts: dict[int, str] = field(default_factory=dict)
    limit: int = 1_000
    places: int = 0

    def next_number(self) -> int:
        return max(self.texts, default=-1) + 1

    def records(self, round: str) -> list[TrialRecord]:
        found = [record_of(text) for _, text in sorted(self.texts.items())]
        return [record for record in found if record.round == round]

    def asked(self, record: TrialRecord) -> None:
        if record.number not in self.texts:
            record = record.model_copy(update={"asked": self._place()})
        self.texts[record.number] = record.model_dump_json()

    def told(self, record: TrialRecord) -> None:
        self.texts[record.number] = record.model_copy(update={"told": self._place()}).model_dump_json()

    def may_ask(self) -> bool:
        return len(self.texts) < self.limit

    def _place(self) -> int:
        self.places += 1
        return self.places - 1


def named(name: str, params: dict[str, Any] | None, settings: dict[str, Any] | None = None) -> Enqueued:
    """A queued point."""
    return Enqueued(name, settings or {}, params)


def draw(suggest: Any) -> dict[str, Any]:
    """Five parameters; beta only where the masks do not start at 0."""
    found = {
        "layers": suggest.suggest_categorical("layers", ["6-3", "9-3", "9-6-3", "3"]),
        "mask.first": suggest.suggest_float("mask.first", 0.0, 0.3, step=0.05),
        "epochs": suggest.suggest_int("epochs", 1, 4),
        "lr": suggest.suggest_float("lr", 1e-5, 1e-3, log=True),
    }
    if found["mask.first"] > 0:
        found["beta"] = suggest.suggest_float("beta", 0.1, 0.5)
    return found


def draw_few(suggest: Any) -> dict[str, Any]:
    """Twelve points, so that draws repeat."""
    return {"a": suggest.suggest_int("a", 0, 3), "b": suggest.suggest_categorical("b", ["x", "y", "z"])}


def describe(number: int, params: Any, origin: str, settings: Any) -> TrialRecord:
    """A chain of a teacher and one student."""
    laid = dict(params) if settings is None or params else dict(settings)
    stages = [("teacher", "0"), ("student", digest(laid))]
    return TrialRecord(
        number=number,
        round=ROUND,
        origin=origin,
        params=dict(params),
        settings=laid,
        layers=(12, 3),
        mask_rates=(0.0,),
        stages=tuple(
            StageUse(grade=name, layers=3, mask_rate=0.0, key=key, teacher=None, teacher_key=None)
            for name, key in stages
        ),
    )


def value_of(params: dict[str, Any]) -> float:
    """A cheap function of either space."""
    if "a" in params:
        return float(params["a"]) / 10 + {"x": 0.0, "y": 0.05, "z": 0.01}[params["b"]]
    off = (params["mask.first"] - 0.2) ** 2 + 0.05 * (log10(params["lr"]) + 4) ** 2
    return 0.5 - off - 0.01 * params["epochs"] - (params.get("beta", 0.5) - 0.3) ** 2 - 0.01 * len(params["layers"])


def report(number: int, epoch: int, value: float, *, epochs: int = 3, **more: Any) -> dict[str, Any]:
    """A result of an epoch of the student as Tune passes it on, after two epochs of the teacher."""
    finished = epoch == epochs
    end = {"standard_error": 0.01, "parameters": 1000 + number, "latency_ms": 1.5, "seconds": 60.0} if finished else {}
    whole = {"grade": "student", "grade_epoch": epoch, "target_epoch": epoch, "finished": finished, **end, **more}
    return TrialReport(number=number, epoch=2 + epoch, value=value, **whole).to_result()


def results(number: int, value: float) -> Iterator[dict[str, Any]]:
    """Three epochs that rise to the value."""
    yield from (report(number, epoch, value - 0.01 * (3 - epoch)) for epoch in (1, 2, 3))


def fate(number: int) -> str:
    """Most trials are done; some are pruned or fail, always the same."""
    return "pruned" if number % 7 == 5 else "failed" if number % 11 == 8 else "done"


def end(search: RecordedSearch, trial_id: str, record: TrialRecord, how: str | None = None) -> None:
    """Report and end a trial as Tune does."""
    how = how or fate(record.number)
    passed = list(results(record.number, value_of(record.params or {"a": 0, "b": "x"})))
    for one in passed if how == "done" else passed[:1]:
        search.on_trial_result(trial_id, one)
    if how == "failed":
        search.on_trial_complete(trial_id, error=True)
    else:
        # Tune tells of the report on which it stopped a trial only here.
        search.on_trial_complete(trial_id, result=passed[-1] if how == "done" else passed[1])


def search_of(trials: MemoryTrials, config: StrategyConfig, **more: Any) -> RecordedSearch:
    """Over the space above."""
    given: dict[str, Any] = {"draw": draw, "describe": describe, "queue": (), "seed": 3, "round": ROUND, **more}
    return RecordedSearch(trials, config=config, **given)


def run_one(search: RecordedSearch, trials: MemoryTrials) -> bool:
    """Ask for a trial and end it; False where there is none."""
    asked = search.suggest("once")
    if asked == Searcher.FINISHED:
        return False
    (record,) = (one for one in trials.records(ROUND) if one.number == asked["number"])
    end(search, "once", record)
    return True


def params_of(trials: MemoryTrials) -> list[dict[str, Any]]:
    """Of every trial."""
    return [record.params for record in trials.records(ROUND)]


def states(trials: MemoryTrials) -> list[TrialState]:
    """Of every trial."""
    return [record.state for record in trials.records(ROUND)]


def until_finished(search: RecordedSearch, trials: MemoryTrials) -> None:
    """All trials, one after another."""
    while run_one(search, trials):
        pass
