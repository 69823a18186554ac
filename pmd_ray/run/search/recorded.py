"""OptunaSearch whose trials are records in the store: resumed trials and queued points first, none asked twice.

It mends what OptunaSearch leaves open: that stopped and crashed trials count as complete, that a trial told twice is an
error, and that a restored search and a study in a database disagree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from pmd_ray.run.search.rebuilt import (
    NUMBER,
    Draw,
    asked,
    distributions_of,
    fitting,
    notes_on_study,
    reopened,
    repeat_of,
    repeated,
    study_of,
    tell,
)
from pmd_ray.run.search.rebuilt import ending as ending_of
from pmd_ray.run.search.samplers import sampler_of
from pmd_ray.run.search.schedulers import KEPT
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.enqueued import Enqueued
from pmd_ray.spec.search import StrategyConfig
from pmd_ray.spec.search_record import DEFAULT, SAMPLED, Report, TrialRecord, TrialState

REPEATS_AT_MOST = 50
"""Draws in a row that repeat a trial; after them the space is taken to be exhausted."""
FIELDS = {"metric": "value", "parameters": "parameters", "latency": "latency_ms", "cost": "seconds"}
"""Objectives by the field of a finished report."""


class Trials(Protocol):
    """Where trials are kept; an ask or a tell is in the store when the call returns."""

    def next_number(self) -> int:
        """The number of the next trial; the same until it is asked."""

    def asked(self, record: TrialRecord) -> None:
        """A trial is about to start, or to start again."""

    def told(self, record: TrialRecord) -> None:
        """A trial has ended."""

    def records(self, round: str) -> list[TrialRecord]:
        """The trials of a round, by number."""

    def may_ask(self) -> bool:
        """Whether the budget has room for another trial."""


Describe = Callable[[int, Mapping[str, Any], str, Mapping[str, Any] | None], TrialRecord]
"""The record of a point: number, parameters, origin, settings (None: those of the parameters)."""


@dataclass
class _Live:
    number: int
    trial: optuna.Trial | None
    """None outside the space."""
    reports: dict[tuple[int, bool], Report] = field(default_factory=dict)
    finished: Mapping[str, Any] | None = None

    def note(self, result: Mapping[str, Any]) -> None:
        """Keep a report; Tune repeats the last one at the end, and a resumed trial those of its last epoch."""
        if "epoch" not in result:
            return
        if result.get("finished"):
            self.finished = result
        if isfinite(result["value"]):
            report = Report(**{name: result[name] for name in Report.model_fields})
            self.reports.setdefault((report.epoch, report.grade_done), report)


def _no_reason(number: int) -> str:
    return ""


def _no_failure(number: int) -> FailureKind | None:
    return None


class RecordedSearch(OptunaSearch):  # type: ignore[misc]
    """Asks Optuna for points and writes each trial down before it starts; a trial's configuration is its number."""

    def __init__(
        self,
        trials: Trials,
        *,
        round: str,
        draw: Draw,
        describe: Describe,
        queue: Sequence[Enqueued],
        config: StrategyConfig,
        seed: int,
        warm: Sequence[TrialRecord] = (),
        reason_of: Callable[[int], str] = _no_reason,
        failure_of: Callable[[int], FailureKind | None] = _no_failure,
    ) -> None:
        """Rebuild the study of a round from its records.

        Args:
            trials: The log of the search.
            round: Name of the round.
            draw: Draws a point.
            describe: Makes a point a record.
            queue: Points to try first, in order.
            config: The strategy.
            seed: Of the search.
            warm: Trials of earlier searches; those whose points do not fit the space are left out.
            reason_of: Why a trial was pruned or failed, by number (`schedulers.Reasons.reason_of`).
            failure_of: The failure of the stage that a trial failed with, by number.
        """
        self._log, self._round = trials, round
        self._draw, self._describe = draw, describe
        self._config, self._search_seed = config, seed
        self._reason_of, self._failure_of = reason_of, failure_of
        known = trials.records(round)
        self._interrupted = deque(record for record in known if record.state is TrialState.RUNNING)
        self._queue = deque(queue)
        self._live: dict[str, _Live] = {}
        self.study = study_of(config, seed, known, fitting(draw, warm))
        super().__init__(space=draw, metric="value", mode="max")

    def _setup_study(self, mode: str | list[str]) -> None:
        self._ot_study = self.study

    def suggest(self, trial_id: str) -> Any:
        """The number of the next trial, or `Searcher.FINISHED`; interrupted ones whatever the budget says."""
        if self._interrupted:
            record = self._interrupted.popleft()
            return self._begin(trial_id, record, reopened(self.study, record.number) if record.inside else None)
        if not self._log.may_ask():
            return Searcher.FINISHED
        begun = self._next_queued() or self._next_drawn()
        return self._begin(trial_id, *begun) if begun else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep a report. Optuna has it with the trial's end: no sampler looks at those of running trials."""
        if trial_id in self._live:
            self._live[trial_id].note(result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Write down how a trial ended and tell Optuna; calls after the first do nothing."""
        live = self._live.pop(trial_id, None)
        if live is None:
            return
        live.note(result or {})
        (begun,) = (record for record in self._log.records(self._round) if record.number == live.number)
        reports = tuple(live.reports.values())
        told = begun.model_copy(update={"reports": reports, **self._end(live, error=error)})
        self._log.told(told)
        if live.trial is not None:
            tell(self.study, live.trial, ending_of(self._config, told))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records hold it all, and Tune's snapshots are never restored."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for `Tuner.restore`, and a log that writes to a store is no data."""
        return {}

    def _begin(self, trial_id: str, record: TrialRecord, trial: optuna.Trial | None) -> dict[str, Any]:
        self._live[trial_id] = _Live(record.number, trial)
        self._log.asked(record)
        # What is found is compared with the default: it must have a value.
        return {"number": record.number, **({KEPT: True} if record.origin == DEFAULT else {})}

    def _next_queued(self) -> tuple[TrialRecord, optuna.Trial | None] | None:
        known = self._known()
        while self._queue:
            point = self._queue.popleft()
            number = self._log.next_number()
            record = self._describe(number, point.params or {}, point.name, point.settings)
            if _keys(record) in known:
                continue
            if point.params is None:
                return record.model_copy(update={"inside": False}), None
            self.study.enqueue_trial(point.params)
            before = notes_on_study(self.study)
            trial, _ = self._asked(number, 0)
            return self._noted(record, trial, before, []), trial
        return None

    def _next_drawn(self) -> tuple[TrialRecord, optuna.Trial] | None:
        if self._config.is_grid:
            return None
        known, number = self._known(), self._log.next_number()
        before, repeats = notes_on_study(self.study), list[dict[str, Any]]()
        for attempt in range(REPEATS_AT_MOST):
            trial, params = self._asked(number, attempt)
            record = self._describe(number, params, SAMPLED, None)
            twin = known.get(_keys(record))
            if twin is None:
                return self._noted(record, trial, before, repeats), trial
            repeats.append(repeat_of(self._frozen(trial), twin))
            tell(self.study, trial, repeated(self._config, twin))
        return None

    def _asked(self, number: int, attempt: int) -> tuple[optuna.Trial, dict[str, Any]]:
        sampler = sampler_of(self._config, seed=self._search_seed, number=number, attempt=attempt)
        trial, params = asked(self.study, self._draw, sampler)
        trial.set_user_attr(NUMBER, number)
        return trial, params

    def _noted(
        self, record: TrialRecord, trial: optuna.Trial, before: Mapping[str, Any], repeats: list[dict[str, Any]]
    ) -> TrialRecord:
        frozen, after = self._frozen(trial), notes_on_study(self.study)
        system = {
            "optuna": frozen.system_attrs,
            "study": {name: value for name, value in after.items() if name not in before},
            "repeats": repeats,
        }
        kept = {name: value for name, value in system.items() if value}
        return record.model_copy(
            update={"params": frozen.params, "distributions": distributions_of(frozen), "system": kept}
        )

    def _frozen(self, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
        return self.study.get_trials(deepcopy=False)[trial.number]

    def _known(self) -> dict[tuple[str, ...], TrialRecord]:
        return {_keys(record): record for record in self._log.records(self._round)}

    def _end(self, live: _Live, *, error: bool) -> dict[str, Any]:
        if live.finished is not None:
            return self._finished(live.finished)
        reason = self._reason_of(live.number)
        if error:
            reason = reason or "it failed; Ray's log of the trial has the error"
            return {"state": TrialState.FAILED, "reason": reason, "failure": self._failure_of(live.number)}
        return {"state": TrialState.PRUNED, "reason": reason or "it was stopped before its end"}

    def _finished(self, result: Mapping[str, Any]) -> dict[str, Any]:
        names = ("value", "standard_error", "parameters", "latency_ms", "seconds")
        end = {name: result.get(name) for name in names}
        objectives = {name: end[FIELDS[name]] for name in self._config.objectives}
        bad = [f"{name} is {value}" for name, value in objectives.items() if value is None or not isfinite(value)]
        if bad:
            return {"state": TrialState.FAILED, "reason": f"it has no finite result: {', '.join(bad)}"}
        several = len(objectives) > 1
        return {"state": TrialState.DONE, **end, "values": tuple(objectives.values()) if several else ()}


def _keys(record: TrialRecord) -> tuple[str, ...]:
    return tuple(stage.key for stage in record.stages)
