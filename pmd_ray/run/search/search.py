"""Runs a search: its rounds under Ray Tune, every trial in the store, the same call going on where it stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pmd_ray.plan.identities import Identities
from pmd_ray.run.folder import locked, write_whole
from pmd_ray.run.search.events import RoundBegun, SearchListener, untold
from pmd_ray.run.search.log import Announced, SearchLog, earlier_searches, same_encoders
from pmd_ray.run.search.machinery import Machinery
from pmd_ray.run.search.rounds import Round, beam_round, best_of, students_of, whole_rounds
from pmd_ray.run.study import StudyOptions
from pmd_ray.run.study_events import StudyListener, unheard
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.keys import digest
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_changes import search_changes
from pmd_ray.spec.search_folder import RECORD, read_search
from pmd_ray.spec.search_reading import read_stored
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState
from pmd_ray.spec.study_folder import RECORD as STUDY
from pmd_ray.store.leases import Busy
from pmd_ray.store.store import Store

ALL_TRIED = "every trial of the budget, or every point of the space, has been tried"


@dataclass(frozen=True, kw_only=True)
class PreparedSearch:
    """A search, checked, before anything is written."""

    record: SearchRecord
    identities: Identities
    store: Store


@dataclass(frozen=True, kw_only=True)
class Searched:
    """How a search ended."""

    record: SearchRecord
    trained: int
    """Stages trained by this run."""


def prepare_search(
    search: SearchConfig,
    store: Store,
    options: StudyOptions,
    *,
    identities: Identities,
    file: str,
    overrides: Sequence[str] = (),
    at_once: int = 1,
) -> PreparedSearch:
    """The record of a search that is not begun yet.

    Raises:
        UserError: graph or encoder are not on this machine.
    """
    started = options.header(identities, store, file=file, overrides=overrides)
    record = SearchRecord(search=search, at_once=at_once, **started.header)
    return PreparedSearch(record=record, identities=identities, store=store)


def run_search(
    prepared: PreparedSearch,
    out: Path,
    options: StudyOptions,
    *,
    listen: SearchListener = untold,
    listen_stages: StudyListener = unheard,
) -> Searched:
    """Try points until the budget is used up; trials that the store knows are not tried again.

    Raises:
        UserError: the folder holds another search; another run is at work on this one.
        StorageError: the storage refuses; what was finished is kept.
    """
    out, store = out.absolute(), prepared.store
    record = continued(prepared.record, store, out)
    with locked(out), _alone(store, record):
        write_whole(out / RECORD, record.model_dump_json(indent=1))
        search = _Search(prepared, record, options, listen=listen, listen_stages=listen_stages)
        try:
            ended = search.run()
        finally:
            write_whole(out / RECORD, search.log.record.model_dump_json(indent=1))
    return ended


def continued(record: SearchRecord, store: Store, out: Path) -> SearchRecord:
    """The record with the trials that the store knows of this search.

    Raises:
        UserError: the folder holds another search or an ablation, or the graph, encoder or device is another one.
    """
    if (out / STUDY).is_file():
        raise UserError(f"{out} holds an ablation; choose another folder with --out")
    if (out / RECORD).is_file():
        way = f"choose another folder with --out and another name (--set name=...), or remove {out}"
        refuse_changed(read_search(out), record, where=str(out), way=way)
    earlier = read_stored(store.study(record.id), record.id, where=store.location)
    if earlier is None:
        warm = tuple(earlier_searches(store, record)) if record.search.search.warm_start else ()
        return record.model_copy(update={"warm": warm})
    refuse_changed(earlier, record, where=store.location, way="give it another name (--set name=...)")
    kept = {name: getattr(earlier, name) for name in ("trials", "warm", "seconds", "created", "confirm")}
    return record.model_copy(update={**kept, "stopped": None})


def refuse_changed(before: SearchRecord, now: SearchRecord, *, where: str, way: str) -> None:
    """Trials of a search are compared with each other: they must be of one search, graph, encoder and device.

    Args:
        where: What holds the earlier one: a folder, or a storage.
        way: The way out.

    Raises:
        UserError: with the differences.
    """
    found = search_changes(before.search, now.search)
    if found:
        raise UserError("\n  ".join([f"{where} holds another version of this search:", *found]) + f"\n  {way}")
    if before.dataset.fingerprint != now.dataset.fingerprint:
        raise UserError(f"{where} holds this search on another version of the graph '{now.dataset.source}'; {way}")
    if not same_encoders(before, now) or before.device != now.device:
        raise UserError(f"{where} holds this search with another encoder or on another kind of device; {way}")


def is_running(record: SearchRecord, store: Store) -> bool:
    """Whether a run is at work on a search; of a bucket only a cluster knows."""
    return store.lease_held(_lease(record))


def _lease(record: SearchRecord) -> str:
    return digest({"search": record.id})


@contextlib.contextmanager
def _alone(store: Store, record: SearchRecord) -> Iterator[None]:
    """One run at a time writes a search's record."""
    try:
        with store.lease(_lease(record)):
            yield
    except Busy:
        raise UserError(
            f"another run is at work on the search '{record.search.name}' in {store.location}; wait for it, or give "
            "this one another name (--set name=...)"
        ) from None


class _Search:
    """One run of a search."""

    def __init__(
        self,
        prepared: PreparedSearch,
        record: SearchRecord,
        options: StudyOptions,
        *,
        listen: SearchListener,
        listen_stages: StudyListener,
    ) -> None:
        self._search = record.search
        self._facts_of = prepared.identities.facts_of
        self._listen = listen
        self._machinery = Machinery(record, prepared.store, options, listen=listen_stages)
        counts = record.search.budget.stages is not None  # else all attempts of the store would be read for nothing
        before = {one.key for one in prepared.store.attempts() if one.study == record.id} if counts else set[str]()
        self.log = SearchLog(record, prepared.store, trained=lambda: len(before | self._machinery.trained))

    def run(self) -> Searched:
        self.log.go_on()
        with self._machinery:
            for each in self._rounds():
                self._listen(RoundBegun(name=each.name, trials=each.trials))
                self.log.begin_round(each.name, trials=each.trials)
                if self._is_open(each):
                    self._run_round(each)
                if self.log.record.stopped is not None:
                    break
        if self.log.record.stopped is None:
            self.log.stop(ALL_TRIED)
        return Searched(record=self.log.finish(), trained=len(self._machinery.trained))

    def _rounds(self) -> Iterator[Round]:
        """A beam's rounds follow from the trials before them."""
        if self._search.search.strategy != "grade":
            yield from whole_rounds(self._search, self._facts_of)
            return
        parents: list[TrialRecord] = []
        for place in range(1, students_of(self._search) + 1):
            above: list[TrialRecord | None] = [*parents] or [None]
            rounds = [beam_round(self._search, self._facts_of, place=place, parent=parent) for parent in above]
            yield from rounds
            found = [trial for each in rounds for trial in self.log.records(each.name)]
            parents = best_of(found, self._search.search.beam)
            if not parents:
                self.log.stop(f"no trial of grade {place} came to its end, so nothing can follow it")
                return

    def _is_open(self, each: Round) -> bool:
        """Whether a trial of it is to be asked again, or another may be asked for: else Ray need not be started."""
        running = any(trial.state is TrialState.RUNNING for trial in self.log.records(each.name))
        return running or self.log.may_ask()

    def _run_round(self, each: Round) -> None:
        from pmd_ray.run.search.recorded import RecordedSearch
        from pmd_ray.run.search.schedulers import scheduler_of
        from pmd_ray.run.search.tuned import run_trials

        server, desk = self._machinery.started()
        record, strategy = self.log.record, self._search.search
        known = self.log.records(each.name)
        scheduler = scheduler_of(
            strategy,
            seed=self._search.seed,
            depths_vary=self._search.space.layers is not None,
            past=self._machinery.past(known),
        )
        searcher = RecordedSearch(
            Announced(self.log, each, server, self._listen),
            round=each.name,
            draw=each.draw,
            describe=each.describe,
            queue=each.queue,
            config=strategy,
            seed=self._search.seed,
            warm=[trial for trial in record.warm if trial.round == each.name],
            reason_of=lambda number: server.reason_of(number) or scheduler.reason_of(number),
            failure_of=lambda number: server.failure_of(number),
        )
        run_trials(searcher, scheduler, desk, name=each.name, at_once=record.at_once)
        if server.stopped is not None:
            self.log.stop(server.stopped)
