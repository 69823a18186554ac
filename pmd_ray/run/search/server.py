"""Serves stages to trials: each distinct stage is trained once, for as long as any trial waits for it.

It runs in a thread of the driver while `Tuner.fit` holds the main one: what trials want and hear goes over the desk.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from pmd_ray.run.search.audience import Audience, FinishedGrades
from pmd_ray.run.search.desk import ServersSide
from pmd_ray.run.search.follower import Follower
from pmd_ray.run.search.training import Epochs, Training
from pmd_ray.run.stage_job import StageJob, StoppableStored, StoppingPool
from pmd_ray.run.study_events import StageEvent, StudyEvent, StudyListener, unheard
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.train.events import EpochDone, GradeStarted

POLL_S = 0.2
STOPPING_S = 5.0
"""Given to workers that nobody waits for at the end."""
CLOSING_S = 90.0
"""Given to the thread to end; it may be waiting for the desk."""


class StageReader(FinishedGrades, Epochs, Protocol):
    """What the server asks about results (`results.Results`)."""


class StageServer:
    """The stages of one search: `with RayPool(..., listen=server.hear) as pool, server.serving(pool): tuner.fit()`.

    Args:
        desk: Where trials ask.
        store: Whether stages are stored, or trained by another run.
        results: Reads them.
        listen: Told what a study's listener is told, in whatever thread.
        clock: In seconds.
    """

    def __init__(
        self,
        desk: ServersSide,
        store: StoppableStored,
        results: StageReader,
        *,
        listen: StudyListener = unheard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk, self._listen = desk, listen
        self._audience = Audience(results)
        self._training = Training(store, results, self._audience, listen=listen, clock=clock)
        self.error: Exception | None = None
        """What ended the server, where it was more than failing stages."""
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._released: list[int] = []
        self._pool: StoppingPool | None = None
        self._closing = threading.Event()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune writes searchers and callbacks down for `Tuner.restore`, which no search uses: a copy is None."""
        return type(None), ()

    @property
    def trained(self) -> frozenset[str]:
        """Keys of the stages trained for this search by this process."""
        return frozenset(self._training.trained)

    @property
    def stopped(self) -> str | None:
        """Why no stage is trained any more: the same bug in three of them, or no storage, or no Ray."""
        return self._training.stopped

    def assign(self, number: int, jobs: Sequence[StageJob]) -> None:
        """Say what a trial's chain is, before the trial starts; once a number. Controls are left out.

        Raises:
            ValueError: there is no stage.
        """
        follower = Follower(number, jobs)
        self._inbox.put(lambda: self._audience.add(follower))

    def release(self, number: int) -> None:
        """A trial has ended, however it did: it waits for nothing any more."""
        self._inbox.put(lambda: self._release(number))

    def reason_of(self, number: int) -> str | None:
        """Why a trial failed; None where no stage of it did."""
        return self._audience.reasons.get(number)

    def failure_of(self, number: int) -> FailureKind | None:
        """The failure of the stage that a trial failed with; None where no stage of it failed."""
        return self._audience.failures.get(number)

    def hear(self, event: StudyEvent) -> None:
        """Listen to the pool, in whatever thread it speaks."""
        self._listen(event)
        if isinstance(event, StageEvent) and isinstance(event.event, EpochDone | GradeStarted):
            key, happened = event.key, event.event
            self._inbox.put(lambda: self._training.progressed(key, happened))

    @contextlib.contextmanager
    def serving(self, pool: StoppingPool) -> Iterator[None]:
        """Serve in a thread until the end of the block; then what still runs is stopped at a place where it resumes.

        Raises:
            StorageError: the storage refused; every trial has failed with that reason.
            WorkerError: Ray went away.
        """
        self._pool = pool
        thread = threading.Thread(target=self._serve, name="stage-server", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._closing.set()
            thread.join(timeout=CLOSING_S)
            if self._pool is not None:
                self._pool.cancel()
        if self.error is not None:
            raise self.error

    def turn(self, pool: StoppingPool | None) -> None:
        """One round: exchange news with the desk, stop what nobody wants, start what is wanted, hear what ended.

        Args:
            pool: None where nothing can be trained any more.
        """
        released, self._released = self._released, []
        wanted = self._desk.exchange(self._audience.take_news(), released)
        self._open_inbox()  # after the desk: whoever wants something there was assigned before
        for number, place in wanted.items():
            job = self._audience.enter(number, place)
            if job is not None:
                self._training.join(number, job)
        if pool is None:
            self._closing.wait(POLL_S)
            return
        self._training.stop_unwanted(pool)
        self._training.start_wanted(pool)
        for outcome in pool.wait(0.0 if self._audience.has_news else POLL_S):
            self._training.ended(outcome)

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                self.turn(self._pool)
            except Exception as error:
                if self.error is not None:
                    return  # Not even the desk answers: trials notice that themselves.
                self._break_down(error)
        if self._pool is not None:
            with contextlib.suppress(Exception):  # the store tells a stage that was cut off from one that went well
                self._stop_last(self._pool)

    def _stop_last(self, pool: StoppingPool) -> None:
        """Stop what the trials that ended last leave behind, as on any other turn."""
        until = time.monotonic() + STOPPING_S
        self._open_inbox()
        self._training.stop_unwanted(pool)
        while self._training.stopping and time.monotonic() < until:
            for outcome in pool.wait(POLL_S):
                self._training.ended(outcome)

    def _break_down(self, error: Exception) -> None:
        self.error = error
        self._training.stop(str(error) or type(error).__name__)
        pool, self._pool = self._pool, None
        if pool is not None:
            with contextlib.suppress(Exception):
                pool.cancel()

    def _open_inbox(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._inbox.get_nowait()()

    def _release(self, number: int) -> None:
        self._training.leave(number)
        self._audience.remove(number)
        self._released.append(number)
