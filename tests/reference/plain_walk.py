"""The walk as plainly as it can be said: in each turn all stages are looked at. `pmd_ray.run.walk` must do the same."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from pmd_ray.plan.tree import PlannedStage, StageTree
from pmd_ray.run.failures import Failures
from pmd_ray.run.study_events import (
    ArtifactSetAside,
    StageBegun,
    StageElsewhere,
    StageStored,
    StageTroubled,
    StudyListener,
    unheard,
)
from pmd_ray.run.walk import (
    BROKEN_AT_MOST,
    LOOK_EVERY_S,
    Ending,
    Pool,
    StageJob,
    StageOutcome,
    Stored,
    Walked,
)
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.errors import StorageError


class PlainWalk:
    """Quadratic, and so for small trees alone."""

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
        free, ready = self._pool.slots() - len(self._running), self._ready()
        while free > 0 and ready:
            stage = ready.pop(0)
            if self._is_elsewhere(stage.key):
                if stage.key in self.result.done:  # its students may start in this very turn
                    ready = self._ready()
                continue
            self._running.add(stage.key)
            self._listen(StageBegun(stage.key))
            self._pool.submit(self._failures.fitted(StageJob.of(stage, stage.chain)))
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

    def _stored(self, key: str, *, trained: bool) -> None:
        self.result.done.add(key)
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
        self._broken[teacher] += 1
        if self._broken[teacher] > BROKEN_AT_MOST:
            raise StorageError(
                f"the artifact of one stage was broken {self._broken[teacher]} times ({reason}); look at the storage: "
                "it does not keep what is written"
            )
        self._store.set_aside(teacher, reason)
        self.result.done.discard(teacher)
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
        self.result.stopped = self._failures.stopped
        self._trouble(outcome, f"its branch ends ({len(below)} stages below it)" if below else "it is left out")

    def _trouble(self, outcome: StageOutcome, then: str) -> None:
        self._listen(StageTroubled(outcome.key, outcome.kind or FailureKind.BUG, outcome.message, then))
