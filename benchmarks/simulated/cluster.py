"""GPUs by a virtual clock: a pool whose stages take as long as they are said to, fail, and lose their GPU."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from benchmarks.simulated.figures import Figures
from benchmarks.simulated.shared_store import Clock, SharedStore
from pmd_ray.run.walk import Ending, StageJob, StageOutcome
from pmd_ray.spec.attempt import FailureKind

DAY_S = 86_400.0
SIZE_EVERY_S = 5.0
"""Between two looks at how large the cluster is, as in the real pool."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong; nothing by default. Times are drawn evenly between two bounds."""

    preemptions: float = 0.0
    """Of each GPU, a day."""
    failures: float = 0.0
    """Share of attempts that fail otherwise."""
    elsewhere: float = 0.0
    """Share of stages that another run trains meanwhile; half are seen before they are started, half after."""
    notice_s: tuple[float, float] = (3.0, 30.0)
    """From a lost GPU to the driver: the cluster's health check takes 30 s at most."""
    away_s: tuple[float, float] = (120.0, 600.0)
    """Until a lost GPU is replaced; assumed: another machine's start, image included."""


@dataclass
class Tally:
    """What happened, in seconds of GPUs where time is meant."""

    busy_s: float = 0.0
    """Stages on GPUs, attempts that were lost included."""
    lost_epochs: list[float] = field(default_factory=list)
    """Of each attempt that was lost or failed: the part of an epoch that is trained again."""
    lost_s: float = 0.0
    """Of those: start-up and that part."""
    preempted: int = 0
    """Attempts that lost their GPU."""
    spent: dict[str, float] = field(default_factory=dict)
    """By trained stage, seconds without any trouble: its start-up and all its epochs."""
    most: int = 0
    """Stages at once."""


@dataclass(eq=False)
class _Attempt:
    job: StageJob
    gpus: tuple[int, ...]
    begun: float
    start_s: float
    left: int
    """Epochs."""


class Cluster:
    """A pool with a clock.

    Args:
        figures: What stages take.
        trouble: What goes wrong.
        expected: Seconds of each stage as the plan has it.
        gpus: Of the cluster.
        workers: GPUs of each stage.
        epochs: Of each stage.
        store: Of this run and of others, which have GPUs of their own.
    """

    def __init__(
        self,
        figures: Figures,
        trouble: Trouble,
        *,
        expected: Mapping[str, float],
        gpus: int,
        workers: int,
        epochs: int,
        store: SharedStore,
        clock: Clock,
        draw: Random,
    ) -> None:
        self._figures, self._trouble, self._expected = figures, trouble, expected
        self._gpus, self._workers, self._epochs, self._draw = gpus, workers, epochs, draw
        self._store, self._clock, self.tally = store, clock, Tally()
        self._free, self._on = list(range(gpus)), dict[int, _Attempt]()
        self._known, self._size = gpus, (-SIZE_EVERY_S, 0)
        self._queue: deque[StageJob] = deque()
        self._seconds: dict[str, float] = {}
        self._kept: dict[str, int] = {}
        """Epochs in a stage's checkpoint."""
        self._ended: list[StageOutcome] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._booked = 0
        if trouble.preemptions:
            self._book_preemption()

    # What a walk asks of a pool.

    def slots(self) -> int:
        """Stages that may run at once, as a look some seconds ago had it."""
        if self._clock.now - self._size[0] >= SIZE_EVERY_S:
            self._size = (self._clock.now, max(1, self._known // self._workers))
        return self._size[1]

    def submit(self, job: StageJob) -> None:
        """Start a stage; it waits where no GPU is free."""
        self._queue.append(job)
        self._start_queued()

    def wait(self, seconds: float) -> list[StageOutcome]:
        """Let time pass until something ends, for so long at most."""
        until = self._clock.now + seconds
        while not self._ended and self._agenda and self._agenda[0][0] <= until:
            self._clock.now, _, happen = heapq.heappop(self._agenda)
            happen()
        if not self._ended:
            self._clock.now = until
        ended, self._ended = self._ended, []
        return ended

    def cancel(self) -> None:
        """Stop everything."""
        self._agenda.clear()
        self._queue.clear()

    # What happens meanwhile.

    def _book(self, after: float, happen: Callable[[], None]) -> None:
        self._booked += 1
        heapq.heappush(self._agenda, (self._clock.now + after, self._booked, happen))

    def _start_queued(self) -> None:
        while self._queue and len(self._free) >= self._workers:
            self._begin(self._queue.popleft())

    def _begin(self, job: StageJob) -> None:
        key, draw = job.key, self._draw
        if key not in self._seconds:
            self._seconds[key] = self._expected[key] * self._figures.factor(draw)
        gpus = tuple(self._free.pop() for _ in range(self._workers))
        left = self._epochs - self._kept.get(key, 0)
        attempt = _Attempt(job, gpus, self._clock.now, self._figures.start(draw), left)
        self._on |= dict.fromkeys(gpus, attempt)
        self.tally.most = max(self.tally.most, len(self._on) // self._workers)
        if self._store.taken_now(key):
            self._book(attempt.start_s, lambda: self._end_busy(attempt))
            return
        whole = attempt.start_s + left * self._seconds[key] / self._epochs
        if draw.random() < self._trouble.failures:
            kind = self._figures.failure(draw)
            self._book(draw.uniform(0.0, whole), lambda: self._end_failed(attempt, kind))
        else:
            self._book(whole, lambda: self._end_done(attempt))

    def _is_over(self, attempt: _Attempt) -> bool:
        """Whether its GPU was lost before."""
        return self._on.get(attempt.gpus[0]) is not attempt

    def _release(self, attempt: _Attempt) -> None:
        self.tally.busy_s += (self._clock.now - attempt.begun) * self._workers
        for gpu in attempt.gpus:
            del self._on[gpu]

    def _give_back(self, gpus: tuple[int, ...]) -> None:
        self._free += gpus
        self._start_queued()

    def _end_done(self, attempt: _Attempt) -> None:
        if self._is_over(attempt):
            return
        key = attempt.job.key
        self._release(attempt)
        self.tally.spent[key] = attempt.start_s + self._seconds[key]
        self._store.stored.add(key)
        self._ended.append(StageOutcome(key=key, ending=Ending.DONE, progressed=True))
        self._give_back(attempt.gpus)

    def _end_busy(self, attempt: _Attempt) -> None:
        if self._is_over(attempt):
            return
        key = attempt.job.key
        self._release(attempt)
        self._store.begin_elsewhere(key)
        self._ended.append(StageOutcome(key=key, ending=Ending.BUSY))
        self._give_back(attempt.gpus)

    def _end_failed(self, attempt: _Attempt, kind: FailureKind) -> None:
        if self._is_over(attempt):
            return
        self._ended.append(self._lost(attempt, kind))
        self._give_back(attempt.gpus)

    def _lost(self, attempt: _Attempt, kind: FailureKind) -> StageOutcome:
        """An attempt ends now without a result: what is kept of it, and what is trained again."""
        key, epoch_s = attempt.job.key, self._seconds[attempt.job.key] / self._epochs
        self._release(attempt)
        lasted = self._clock.now - attempt.begun
        trained = max(0.0, lasted - attempt.start_s)
        whole = min(int(trained / epoch_s), attempt.left)
        self._kept[key] = self._kept.get(key, 0) + whole
        self.tally.lost_epochs.append(max(0.0, trained / epoch_s - whole))
        self.tally.lost_s += (lasted - whole * epoch_s) * self._workers
        return StageOutcome(
            key=key,
            ending=Ending.FAILED,
            kind=kind,
            message="simulated",
            signature=key,  # bugs of their own: three equal ones would stop the study
            progressed=whole > 0,
        )

    def _book_preemption(self) -> None:
        rate = self._gpus * self._trouble.preemptions / DAY_S
        self._book(self._draw.expovariate(rate), self._preempt)

    def _preempt(self) -> None:
        """One GPU goes; its stage with it."""
        self._book_preemption()
        gpu = self._draw.randrange(self._gpus)
        attempt = self._on.get(gpu)
        if attempt is None and gpu not in self._free:
            return  # away, or of a group that has lost another
        outcome, others = None, tuple[int, ...]()
        if attempt is None:
            self._free.remove(gpu)
        else:
            self.tally.preempted += 1
            outcome, others = self._lost(attempt, FailureKind.NODE_LOST), tuple(g for g in attempt.gpus if g != gpu)
        self._book(self._draw.uniform(*self._trouble.notice_s), lambda: self._notice(outcome, others))
        self._book(self._draw.uniform(*self._trouble.away_s), lambda: self._come_back(gpu))

    def _notice(self, outcome: StageOutcome | None, others: tuple[int, ...]) -> None:
        self._known -= 1
        if outcome is not None:
            self._ended.append(outcome)
        self._give_back(others)

    def _come_back(self, gpu: int) -> None:
        self._known += 1
        self._give_back((gpu,))
