"""The log of a search: every trial, written whole to the store at each ask and tell. Whoever resumes reads it back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pmd_ray.run.failures import OF_THE_MACHINE
from pmd_ray.run.search.events import SearchListener, TrialAsked, TrialTold
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search_reading import read_stored
from pmd_ray.spec.search_record import EarlierTry, SearchRecord, TrialRecord, TrialState

if TYPE_CHECKING:
    from pmd_ray.run.search.rounds import Round
    from pmd_ray.run.search.server import StageServer
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
        """From now on so many trials of that round may be asked for; those that the machine failed are asked again.

        Whoever resumes has mended something, so each of an earlier run's gets another try in this run.
        """
        self._round, self._limit = name, trials
        for trial in self.records(name):
            if trial.failure in OF_THE_MACHINE and trial.told is not None and trial.told < self._first_place:
                self._trials[trial.number] = self._reopened(trial, trial.told)

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

    def _reopened(self, trial: TrialRecord, told: int) -> TrialRecord:
        """A failed trial as one that runs, its failure kept."""
        failed = EarlierTry(told=told, again=self._next_place(), failure=trial.failure, reason=trial.reason)
        again = {"state": TrialState.RUNNING, "failure": None, "reason": "", "reports": (), "told": None, "ended": None}
        return trial.model_copy(update={**again, "earlier": (*trial.earlier, failed)})

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
        places += [one.again for trial in self._trials.values() for one in trial.earlier]
        return max(places, default=-1) + 1

    def _write(self) -> None:
        trials = tuple(trial for _, trial in sorted(self._trials.items()))
        self.record = self.record.model_copy(update={"trials": trials, "seconds": self._seconds()})
        self.store.register(self.record.id, self.record.model_dump_json())


class Announced:
    """The log, with every ask told to the stage server and to whoever listens."""

    def __init__(self, log: SearchLog, each: Round, server: StageServer, listen: SearchListener) -> None:
        self._log, self._round, self._server, self._listen = log, each, server, listen

    def next_number(self) -> int:
        """As the log has it."""
        return self._log.next_number()

    def records(self, round: str) -> list[TrialRecord]:
        """As the log has them."""
        return self._log.records(round)

    def may_ask(self) -> bool:
        """As the log has it; nothing more once stages cannot be trained."""
        return self._server.stopped is None and self._log.may_ask()

    def asked(self, record: TrialRecord) -> None:
        """The trial's stages are known to the server before the trial starts."""
        self._log.asked(record)
        self._server.assign(record.number, self._round.jobs_of(record))
        self._listen(TrialAsked(trial=record))

    def told(self, record: TrialRecord) -> None:
        """The trial waits for nothing any more. Without a storage or a Ray it has not failed: it is tried again."""
        if record.state is TrialState.FAILED and self._server.error is not None:
            return
        self._log.told(record)
        self._server.release(record.number)
        self._listen(TrialTold(trial=record))


def earlier_searches(store: Store, record: SearchRecord) -> list[TrialRecord]:
    """Finished trials of other searches on the same graph, encoders, metric and baseline: what a sampler may know."""
    found: list[TrialRecord] = []
    for name, text in sorted(store.studies().items()):
        if not name.startswith("search-") or name == record.id:
            continue
        with contextlib.suppress(UserError):  # of another version
            other = read_stored(text, name, where=store.location)
            if other is not None and _asks_the_same(other, record):
                found += [trial for trial in other.trials if trial.state is TrialState.DONE and trial.inside]
    return found


def same_encoders(one: SearchRecord, other: SearchRecord) -> bool:
    """Whether no encoder has changed; each may know some that the other one has not used (other confirming seeds)."""
    return all(other.encoders.get(name, found) == found for name, found in one.encoders.items())


def _asks_the_same(other: SearchRecord, record: SearchRecord) -> bool:
    return (
        other.dataset.fingerprint == record.dataset.fingerprint
        and same_encoders(other, record)
        and other.search.metric == record.search.metric
        and other.search.drafts == record.search.drafts
        and other.search.search.objectives == record.search.search.objectives
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
