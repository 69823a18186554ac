"""Walks a stage tree: a stage starts when its teacher is stored, the longest remaining chain first.

Failures by kind: out of memory is tried again with half the micro-batch (gradient caching: the same experiment), a
lost worker or node again from its checkpoint; anything else ends its branch, and the same bug three times the study.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from pmd_ray.plan.tree import PlannedStage, StageTree
from pmd_ray.run.study_events import (
    ArtifactSetAside,
    StageBegun,
    StageElsewhere,
    StageStored,
    StageTroubled,
    StudyListener,
    unheard,
)
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.errors import StorageError
from pmd_ray.spec.grade import GradeConfig

LOST_AT_MOST = 5
"""Lost workers or nodes that a stage survives without finishing an epoch in between."""
SAME_BUG_AT_MOST = 3
"""Stages that may fail with the same bug before the study stops."""
LOOK_EVERY_S = 1.0
"""Between two looks at a stage that another run trains."""


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """What a worker needs to train a stage: plain values, no tensors."""

    key: str
    chain: ChainConfig
    grade: GradeConfig
    """With the micro-batch of this attempt."""
    teacher_key: str | None
    teacher: str | None
    control_of: str | None


class Ending(StrEnum):
    """How a worker's call ended."""

    DONE = "done"
    STORED = "stored"
    """It was there already: another run was quicker."""
    BUSY = "busy"
    """Another run holds the lease."""
    BROKEN_TEACHER = "broken teacher"
    """The teacher's artifact fails its hashes."""
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """What a worker says at the end."""

    key: str
    ending: Ending
    kind: FailureKind | None = None
    message: str = ""
    signature: str = ""
    """Where it failed: equal for the same bug."""
    progressed: bool = False
    """Whether an epoch was finished in this attempt."""


class Pool(Protocol):
    """Workers that train stages."""

    def slots(self) -> int:
        """Stages that may run at once now."""

    def submit(self, job: StageJob) -> None:
        """Start a stage."""

    def wait(self, seconds: float) -> list[StageOutcome]:
        """What has ended, at the latest after so many seconds."""

    def cancel(self) -> None:
        """Stop what runs, at a place where it resumes."""


class Stored(Protocol):
    """What the walk asks of the store."""

    def has(self, key: str) -> bool:
        """Whether a stage is stored."""

    def lease_held(self, key: str) -> bool:
        """Whether someone trains it now."""

    def set_aside(self, key: str, reason: str) -> str:
        """Put a broken artifact out of the way."""


@dataclass
class Walked:
    """How a walk ended."""

    done: set[str] = field(default_factory=set)
    trained: set[str] = field(default_factory=set)
    """Of those, the ones that this walk trained."""
    failed: dict[str, StageOutcome] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    """Below a failed stage, or not reached."""
    stopped: str | None = None
    """Why the walk ended early."""


class Walk:
    """One walk over a tree; `run` returns when nothing is left to do."""

    def __init__(
        self,
        tree: StageTree,
        store: Stored,
        pool: Pool,
        *,
        stored: set[str],
        cost: Mapping[str, float],
        listen: StudyListener = unheard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tree, self._store, self._pool = tree, store, pool
        self._longest = tree.longest_from(cost)
        self._listen, self._clock = listen, clock
        self.result = Walked(done=stored & set(tree.stages))
        self._running: set[str] = set()
        self._micro_batch: dict[str, int] = {}
        self._lost: Counter[str] = Counter()
        self._bugs: Counter[str] = Counter()
        self._elsewhere: dict[str, float] = {}
        """Stages that another run trains, with the time of the next look."""

    def run(self) -> Walked:
        """Train everything that is missing.

        Raises:
            StorageError: the storage refuses; what was finished is whole.
        """
        try:
            while self._left() and self.result.stopped is None:
                self._start_ready()
                outcomes = self._pool.wait(LOOK_EVERY_S if self._running or self._elsewhere else 0.1)
                for outcome in outcomes:
                    self._handle(outcome)
        except BaseException:
            self._pool.cancel()
            raise
        if self._running:
            self._pool.cancel()
        self.result.skipped |= set(self._left())
        return self.result

    def _left(self) -> list[str]:
        result = self.result
        return [key for key in self._tree.stages if key not in result.done | result.failed.keys() | result.skipped]

    def _ready(self) -> list[PlannedStage]:
        """Longest remaining chain first; the order of the file where equal."""
        stages = (self._tree.stages[key] for key in self._left() if key not in self._running)
        ready = [stage for stage in stages if stage.teacher_key is None or stage.teacher_key in self.result.done]
        return sorted(ready, key=lambda stage: -self._longest[stage.key])

    def _start_ready(self) -> None:
        free = self._pool.slots() - len(self._running)
        for stage in self._ready():
            if free <= 0:
                return
            if self._is_elsewhere(stage.key):
                continue
            self._running.add(stage.key)
            self._listen(StageBegun(stage.key))
            self._pool.submit(self._job(stage))
            free -= 1

    def _is_elsewhere(self, key: str) -> bool:
        """Whether another run trains it; stored by now counts as done."""
        if self._clock() < self._elsewhere.get(key, 0.0):
            return True
        if self._store.lease_held(key):
            if key not in self._elsewhere:
                self._listen(StageElsewhere(key))
            self._elsewhere[key] = self._clock() + LOOK_EVERY_S
            return True
        # Looked at after the lease: whoever held it publishes first and lets go then.
        if key in self._elsewhere and self._store.has(key):
            self._stored(key, trained=False)
        return self._elsewhere.pop(key, None) is not None and key in self.result.done

    def _job(self, stage: PlannedStage) -> StageJob:
        grade = stage.grade
        if stage.key in self._micro_batch:
            optimiser = grade.optimiser.model_copy(update={"micro_batch": self._micro_batch[stage.key]})
            grade = grade.model_copy(update={"optimiser": optimiser})
        return StageJob(
            key=stage.key,
            chain=stage.chain,
            grade=grade,
            teacher_key=stage.teacher_key,
            teacher=stage.teacher,
            control_of=stage.control_of,
        )

    def _stored(self, key: str, *, trained: bool) -> None:
        self.result.done.add(key)
        if trained:
            self.result.trained.add(key)
        self._listen(StageStored(key, trained))

    def _handle(self, outcome: StageOutcome) -> None:
        key = outcome.key
        self._running.discard(key)
        match outcome.ending:
            case Ending.DONE:
                self._stored(key, trained=True)
            case Ending.STORED:
                self._stored(key, trained=False)
            case Ending.BUSY:
                self._elsewhere[key] = self._clock() + LOOK_EVERY_S
                self._listen(StageElsewhere(key))
            case Ending.BROKEN_TEACHER:
                self._retrain_teacher(key, outcome.message)
            case Ending.FAILED:
                self._handle_failure(outcome)

    def _retrain_teacher(self, key: str, reason: str) -> None:
        teacher = self._tree.stages[key].teacher_key
        if teacher is None or teacher not in self.result.done:
            return  # another child has said so already
        self._store.set_aside(teacher, reason)
        self.result.done.discard(teacher)
        self._listen(ArtifactSetAside(teacher, reason))

    def _handle_failure(self, outcome: StageOutcome) -> None:
        key, kind = outcome.key, outcome.kind or FailureKind.BUG
        match kind:
            case FailureKind.OUT_OF_MEMORY:
                smaller = self._smaller(key)
                if smaller is not None:
                    self._micro_batch[key] = smaller
                    self._trouble(outcome, kind, f"tried again with {smaller} texts at once, the same experiment")
                    return
            case FailureKind.NODE_LOST | FailureKind.TIMEOUT:
                self._lost[key] = 1 if outcome.progressed else self._lost[key] + 1
                if self._lost[key] <= LOST_AT_MOST:
                    self._trouble(outcome, kind, "tried again from its last epoch")
                    return
            case FailureKind.DISK:
                raise StorageError(outcome.message)
            case FailureKind.NOT_FINITE | FailureKind.BUG:
                pass
        self._end_branch(replace(outcome, kind=kind))

    def _smaller(self, key: str) -> int | None:
        optimiser = self._tree.stages[key].grade.optimiser
        now = self._micro_batch.get(key) or optimiser.micro_batch or optimiser.batch
        return now // 2 if now >= 2 else None

    def _end_branch(self, outcome: StageOutcome) -> None:
        kind = outcome.kind or FailureKind.BUG
        below = self._tree.below(outcome.key)
        self.result.failed[outcome.key] = outcome
        self.result.skipped |= set(below) - self.result.done
        self._trouble(outcome, kind, f"its branch ends ({len(below)} stages below it)" if below else "it is left out")
        if kind is not FailureKind.BUG:
            return
        self._bugs[outcome.signature] += 1
        if self._bugs[outcome.signature] >= SAME_BUG_AT_MOST:
            self.result.stopped = f"the same bug ended {SAME_BUG_AT_MOST} stages: {outcome.message}"

    def _trouble(self, outcome: StageOutcome, kind: FailureKind, then: str) -> None:
        self._listen(StageTroubled(outcome.key, kind, outcome.message, then))
