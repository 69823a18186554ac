"""Walks a stage tree: a stage starts when its teacher is stored, the longest remaining chain first.

What follows from a failure is `failures.Failures`'s to say: it is tried again, or its branch ends.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pmd_ray.plan.tree import StageTree
from pmd_ray.run.failures import LOST_AT_MOST, SAME_BUG_AT_MOST, Failures
from pmd_ray.run.ready_stages import ReadyStages
from pmd_ray.run.stage_job import Ending, Pool, StageJob, StageOutcome, Stored
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
from pmd_ray.spec.errors import StorageError

__all__ = [
    "LOST_AT_MOST",
    "SAME_BUG_AT_MOST",
    "Ending",
    "Pool",
    "StageJob",
    "StageOutcome",
    "Stored",
    "Walk",
    "Walked",
]

BROKEN_AT_MOST = 2
"""Times that a teacher's artifact may be found broken and trained again."""
LOOK_EVERY_S = 1.0
"""Between two looks at a stage that another run trains."""


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
        self._listen, self._clock = listen, clock
        self.result = Walked(done=stored & tree.stages.keys())
        self._left = tree.stages.keys() - self.result.done
        """Neither done nor given up; those that run are among them."""
        self._running: set[str] = set()
        self._ready = ReadyStages(tree, cost)
        self._ready.offer(key for key in tree.stages if self._may_start(key))
        self._failures = Failures()
        self._broken: Counter[str] = Counter()
        self._elsewhere: dict[str, float] = {}
        """Stages that another run trains, with the time of the next look."""

    def run(self) -> Walked:
        """Train everything that is missing.

        Raises:
            StorageError: the storage refuses; what was finished is whole.
        """
        try:
            while self._left and self.result.stopped is None:
                self._start_ready()
                outcomes = self._pool.wait(LOOK_EVERY_S if self._running or self._elsewhere else 0.1)
                for outcome in outcomes:
                    self._handle(outcome)
        except BaseException:
            self._pool.cancel()
            raise
        if self._running:
            self._pool.cancel()
        self.result.skipped |= self._left
        return self.result

    def _may_start(self, key: str) -> bool:
        teacher = self._tree.stages[key].teacher_key
        return key in self._left and key not in self._running and (teacher is None or teacher in self.result.done)

    def _start_ready(self) -> None:
        free = self._pool.slots() - len(self._running)
        self._ready.turn(self._clock())
        while free > 0 and (key := self._ready.take()) is not None:
            if not self._may_start(key) or self._is_elsewhere(key):
                continue
            stage = self._tree.stages[key]
            self._running.add(key)
            self._listen(StageBegun(key))
            self._pool.submit(self._failures.fitted(StageJob.of(stage, stage.chain)))
            free -= 1

    def _is_elsewhere(self, key: str) -> bool:
        """Whether another run trains it; stored by now counts as done."""
        if self._clock() < self._elsewhere.get(key, 0.0):
            return True
        if self._store.lease_held(key):
            if key not in self._elsewhere:
                self._listen(StageElsewhere(key))
            self._look_later(key)
            return True
        # Looked at after the lease: whoever held it publishes first and lets go then.
        if key in self._elsewhere and self._store.has(key):
            self._stored(key, trained=False)
        return self._elsewhere.pop(key, None) is not None and key in self.result.done

    def _look_later(self, key: str) -> None:
        self._elsewhere[key] = at = self._clock() + LOOK_EVERY_S
        self._ready.offer_at(key, at)

    def _stored(self, key: str, *, trained: bool) -> None:
        self.result.done.add(key)
        self._left.discard(key)
        self._ready.offer(self._tree.stages[key].children)
        if trained:
            self.result.trained.add(key)
        self._listen(StageStored(key, trained))

    def _handle(self, outcome: StageOutcome) -> None:
        key = outcome.key
        self._running.discard(key)
        match outcome.ending:
            case Ending.DONE if not self._store.has(key):
                raise StorageError(
                    "a stage was trained and stored, but is not to be found in the storage of this process: it must be "
                    "one place for all nodes of the cluster; use a shared folder or s3://..."
                )
            case Ending.DONE:
                self._stored(key, trained=True)
            case Ending.STORED:
                self._stored(key, trained=False)
            case Ending.BUSY:
                self._look_later(key)
                self._listen(StageElsewhere(key))
            case Ending.BROKEN_TEACHER:
                self._retrain_teacher(key, outcome.message)
                self._ready.offer([key])
            case Ending.FAILED:
                self._handle_failure(outcome)
                self._ready.offer([key])

    def _retrain_teacher(self, key: str, reason: str) -> None:
        teacher = self._tree.stages[key].teacher_key
        if teacher is None or teacher not in self.result.done:
            return  # another child has said so already
        self._broken[teacher] += 1
        if self._broken[teacher] > BROKEN_AT_MOST:
            raise StorageError(
                f"the artifact of one stage was broken {self._broken[teacher]} times ({reason}); look at the storage: "
                "it does not keep what is written"
            )
        self._store.set_aside(teacher, reason)
        self.result.done.discard(teacher)
        if teacher not in self.result.skipped:
            self._left.add(teacher)
        self._ready.offer([teacher])
        self._listen(ArtifactSetAside(teacher, reason))

    def _handle_failure(self, outcome: StageOutcome) -> None:
        outcome, stage = replace(outcome, kind=outcome.kind or FailureKind.BUG), self._tree.stages[outcome.key]
        then = self._failures.try_again(outcome, StageJob.of(stage, stage.chain))
        if then is None:
            self._end_branch(outcome)
        else:
            self._trouble(outcome, then)

    def _end_branch(self, outcome: StageOutcome) -> None:
        below = self._tree.below(outcome.key)
        self.result.failed[outcome.key] = outcome
        self.result.skipped |= set(below) - self.result.done
        self._left -= {outcome.key, *below}
        self.result.stopped = self._failures.stopped
        self._trouble(outcome, f"its branch ends ({len(below)} stages below it)" if below else "it is left out")

    def _trouble(self, outcome: StageOutcome, then: str) -> None:
        self._listen(StageTroubled(outcome.key, outcome.kind or FailureKind.BUG, outcome.message, then))
