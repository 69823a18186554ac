"""What follows from a stage's failure, by its kind.

Out of memory is tried again with half the micro-batch (gradient caching: the same experiment), a lost worker or node
again from its checkpoint, a storage that refuses for a while after a pause, a full disk once more on another node;
anything else ends the stage, and the same bug in three stages everything.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from pmd_ray.run.stage_job import StageJob, StageOutcome
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.errors import StorageError

LOST_AT_MOST = 5
"""Lost workers or nodes that a stage survives without finishing an epoch in between."""
SAME_BUG_AT_MOST = 3
"""Stages that may fail with the same bug before everything stops."""
STORAGE_PATIENCE_S = 120.0
"""For so long a storage that refuses is tried again: a file server that is started anew takes as long."""
STORAGE_PAUSE_S = 5.0
"""Between two tries."""
FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))
PASSING = tuple(map(os.strerror, (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENXIO, errno.ETIMEDOUT, errno.EHOSTDOWN)))
"""What a disk says that may be well again soon."""

OF_THE_MACHINE = (FailureKind.OUT_OF_MEMORY, FailureKind.TIMEOUT, FailureKind.NODE_LOST, FailureKind.DISK)
"""Failures that say nothing of what was trained: once the machine is mended the same may go well."""


class Failures:
    """Remembers what failed, and judges the next failure by it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.stopped: str | None = None
        """Why nothing more should be started."""
        self._micro_batch: dict[str, int] = {}
        self._lost: Counter[str] = Counter()
        self._bugs: Counter[str] = Counter()
        self._full: set[str] = set()
        """Stages that met a full disk since their last epoch."""
        self._refused: dict[str, float] = {}
        """Since when the storage refuses a stage."""

    def fitted(self, job: StageJob) -> StageJob:
        """The job with the micro-batch that its earlier attempts leave it."""
        if job.key not in self._micro_batch:
            return job
        optimiser = job.grade.optimiser.model_copy(update={"micro_batch": self._micro_batch[job.key]})
        return replace(job, grade=job.grade.model_copy(update={"optimiser": optimiser}))

    def try_again(self, outcome: StageOutcome, job: StageJob) -> str | None:
        """How a failed stage is tried again, in words; None: it has failed.

        Args:
            outcome: Of the failed attempt.
            job: As it was planned.

        Raises:
            StorageError: the storage refuses for good, as it would every other stage.
        """
        key = outcome.key
        match outcome.kind or FailureKind.BUG:
            case FailureKind.OUT_OF_MEMORY:
                smaller = self._smaller(job)
                if smaller is not None:
                    self._micro_batch[key] = smaller
                    return f"tried again with {smaller} texts at once, the same experiment"
            case FailureKind.NODE_LOST | FailureKind.TIMEOUT:
                self._lost[key] = 1 if outcome.progressed else self._lost[key] + 1
                if self._lost[key] <= LOST_AT_MOST:
                    return "tried again from its last epoch"
            case FailureKind.DISK:
                return self._refusal(outcome)
            case FailureKind.NOT_FINITE:
                pass
            case FailureKind.BUG:
                self._count_bug(outcome)
        return None

    def _refusal(self, outcome: StageOutcome) -> str:
        key, now = outcome.key, self._clock()
        if outcome.progressed:  # it is another refusal than the last one
            self._full.discard(key)
            self._refused.pop(key, None)
        if any(words in outcome.message for words in FULL) and key not in self._full:
            self._full.add(key)
            return f"tried again in {STORAGE_PAUSE_S:g} s, on another node where there is one"
        waited = now - self._refused.setdefault(key, now)
        if not any(words in outcome.message for words in PASSING) or waited > STORAGE_PATIENCE_S:
            raise StorageError(outcome.message)
        left = STORAGE_PATIENCE_S - waited
        return f"tried again in {STORAGE_PAUSE_S:g} s, from its last epoch, for {left:.0f} s more"

    def _smaller(self, job: StageJob) -> int | None:
        optimiser = job.grade.optimiser
        now = self._micro_batch.get(job.key) or optimiser.micro_batch or optimiser.batch
        return now // 2 if now >= 2 else None

    def _count_bug(self, outcome: StageOutcome) -> None:
        self._bugs[outcome.signature] += 1
        if self._bugs[outcome.signature] >= SAME_BUG_AT_MOST:
            self.stopped = f"the same bug ended {SAME_BUG_AT_MOST} stages: {outcome.message}"
