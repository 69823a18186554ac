"""The log of a search: every trial, written whole to the store at each ask and tell. Whoever resumes reads it back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState

if TYPE_CHECKING:
    from pmd_ray.store.store import Store

FAILED_AT_MOST = 3
"""Trials that may fail in one run before any has been done: then all of them would."""


@dataclass
class SearchLog:
    """The trials of a search while it runs; `Trials` for the searcher. One process writes it, under a lease."""

    record: SearchRecord
    store: Store
    trained: Callable[[], int] = lambda: 0
    """Stages trained for the search so far, by all its runs."""
    clock: Callable[[], float] = time.monotonic
    _round: str = ""
    _limit: int | None = None
    _trials: dict[int, TrialRecord] = field(default_factory=dict)
    _begun: float = 0.0
    _earlier_seconds: float = 0.0
    _first_place: int = 0
    """Of this run: who resumes has mended something, and what failed before says nothing of it."""

    def __post_init__(self) -> None:
        self._trials = {trial.number: trial for trial in self.record.trials}
        self._begun, self._earlier_seconds = self.clock(), self.record.seconds
        self._first_place = self._next_place()

    def next_number(self) -> int:
        """The number of the next trial."""
        return max(self._trials, default=-1) + 1

    def records(self, round: str) -> list[TrialRecord]:
        """The trials of a round, by number."""
        return [trial for _, trial in sorted(self._trials.items()) if trial.round == round]

    def asked(self, trial: TrialRecord) -> None:
        """A trial is about to start, or to start again; it is in the store when this returns."""
        if trial.number not in self._trials:
            trial = trial.model_copy(update={"asked": self._next_place(), "started": _now()})
        self._trials[trial.number] = trial
        self._write()

    def told(self, trial: TrialRecord) -> None:
        """A trial has ended."""
        self._trials[trial.number] = trial.model_copy(update={"told": self._next_place(), "ended": _now()})
        self._write()

    def begin_round(self, name: str, *, trials: int | None) -> None:
        """From now on so many trials of that round may be asked for."""
        self._round, self._limit = name, trials

    def may_ask(self) -> bool:
        """Whether round and budget have room for another trial; where the budget has not, why is noted."""
        if self.record.stopped is None:
            self.stop(self._reason())
        full = self._limit is not None and len(self.records(self._round)) >= self._limit
        return self.record.stopped is None and not full

    def stop(self, reason: str | None) -> None:
        """Note why no more trials are asked for; it is written with the next trial, or by `finish`."""
        self.record = self.record.model_copy(update={"stopped": reason})

    def go_on(self) -> None:
        """A new round, or a larger budget: what stopped the search earlier is judged anew."""
        self.stop(None)

    def finish(self) -> SearchRecord:
        """Write the record as it stands and return it."""
        self._write()
        return self.record

    def _reason(self) -> str | None:
        budget = self.record.search.budget
        ended = [trial for trial in self._trials.values() if trial.state is not TrialState.RUNNING]
        failed = [trial for trial in ended if (trial.told or 0) >= self._first_place]
        if len(failed) >= FAILED_AT_MOST and all(trial.state is TrialState.FAILED for trial in ended):
            return f"all of the first {len(ended)} trials failed; the last one: {failed[-1].reason}"
        if budget.hours is not None and self._seconds() > budget.hours * 3600:
            return f"the budget of {budget.hours:g} hours is used up"
        if budget.stages is not None and self.trained() >= budget.stages:
            return f"the budget of {budget.stages} stages is used up"
        return None

    def _seconds(self) -> float:
        return self._earlier_seconds + self.clock() - self._begun

    def _next_place(self) -> int:
        places = [trial.asked for trial in self._trials.values()]
        places += [trial.told for trial in self._trials.values() if trial.told is not None]
        return max(places, default=-1) + 1

    def _write(self) -> None:
        trials = tuple(trial for _, trial in sorted(self._trials.items()))
        self.record = self.record.model_copy(update={"trials": trials, "seconds": self._seconds()})
        self.store.register(self.record.id, self.record.model_dump_json())


def earlier_searches(store: Store, record: SearchRecord) -> list[TrialRecord]:
    """Finished trials of other searches on the same graph, encoders, metric and baseline: what a sampler may know."""
    found: list[TrialRecord] = []
    for name, text in sorted(store.studies().items()):
        if not name.startswith("search-") or name == record.id:
            continue
        try:
            other = SearchRecord.model_validate(json.loads(text))
        except (ValueError, ValidationError):
            continue
        same = (
            other.dataset.fingerprint == record.dataset.fingerprint
            and same_encoders(other, record)
            and other.search.metric == record.search.metric
            and other.search.drafts == record.search.drafts
            and other.search.search.objectives == record.search.search.objectives
        )
        if same:
            found += [trial for trial in other.trials if trial.state is TrialState.DONE and trial.inside]
    return found


def same_encoders(one: SearchRecord, other: SearchRecord) -> bool:
    """Whether no encoder has changed; each may know some that the other one has not used (other confirming seeds)."""
    return all(other.encoders.get(name, found) == found for name, found in one.encoders.items())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
