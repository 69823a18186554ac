"""Trains the stages that trials wait for: what starts, what is stopped, and what follows from each end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from pmd_ray.run.failures import Failures
from pmd_ray.run.search.audience import Audience
from pmd_ray.run.search.results import Epoch
from pmd_ray.run.search.wanted import StageState, WantedStage, WantedStages
from pmd_ray.run.stage_job import Ending, StageJob, StageOutcome, StoppableStored, StoppingPool
from pmd_ray.run.study_events import (
    ArtifactSetAside,
    StageBegun,
    StageElsewhere,
    StageStored,
    StageTroubled,
    StudyListener,
)
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import Metrics
from pmd_ray.store.artifacts import ArtifactBroken
from pmd_ray.train.events import EpochDone, GradeStarted

LOOK_EVERY_S = 1.0
"""Between two looks at a stage that another run trains."""


class Epochs(Protocol):
    """What is asked about epochs (`results.Results`)."""

    def kept(self, key: str) -> Iterable[Epoch]:
        """Those in the checkpoint of a stage that is trained."""

    def heard(self, number: int, metrics: Metrics | None, rr: tuple[float, ...]) -> Epoch | None:
        """The one of which an event tells."""


class Training:
    """The stages of one search on a pool; one thread calls it."""

    def __init__(
        self,
        store: StoppableStored,
        epochs: Epochs,
        audience: Audience,
        *,
        listen: StudyListener,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._epochs, self._audience = store, epochs, audience
        self._listen, self._clock = listen, clock
        self.trained: set[str] = set()
        """Keys of the stages trained here."""
        self.stopped: str | None = None
        """Why nothing is trained any more."""
        self._stages = WantedStages()
        self._failures = Failures()

    def join(self, number: int, job: StageJob) -> None:
        """A trial waits for a stage from now on; it hears at once what is known of it."""
        stage = self._stages.want(job)
        stage.waiters.append(number)
        if stage.state is StageState.IDLE and self._store.has(job.key):
            self._stored(stage, trained=False)
        elif stage.state is StageState.STORED:
            self._answer(stage)
        elif stage.state is StageState.FAILED:
            self._fail_trial(number, stage.reason, stage.failure)
        elif self.stopped is not None:
            self._fail_trial(number, self.stopped)
        else:
            self._audience.heard([number], stage.heard())

    def leave(self, number: int) -> None:
        """A trial waits for nothing any more."""
        self._stages.leave(number)

    @property
    def stopping(self) -> bool:
        """Whether a worker that was told to stop has not answered yet."""
        return bool(self._stages.all(StageState.STOPPING))

    def stop_unwanted(self, pool: StoppingPool) -> None:
        """Stop what nobody waits for."""
        for stage in self._stages.all(StageState.RUNNING):
            if not self._stages.waiting(stage):
                stage.state = StageState.STOPPING
                pool.cancel_one(stage.job.key)

    def start_wanted(self, pool: StoppingPool) -> None:
        """Start what is waited for, as far as the pool has room."""
        free = pool.slots() - len(self._stages.all(StageState.RUNNING, StageState.STOPPING))
        for stage in self._stages.queue():
            if (free <= 0 and stage.look_at is None) or self._is_elsewhere(stage):
                continue
            if free > 0 and not self._lacks_teacher(stage):
                stage.state = StageState.RUNNING
                self._listen(StageBegun(stage.job.key))
                pool.submit(self._failures.fitted(stage.job))
                free -= 1

    def progressed(self, key: str, event: EpochDone | GradeStarted) -> None:
        """A stage has started, or finished an epoch."""
        stage = self._stages.get(key)
        if stage is None or stage.state not in (StageState.RUNNING, StageState.STOPPING):
            return
        if isinstance(event, GradeStarted):
            # Epochs of an earlier run of this search, which trials of this one have not heard.
            new = list(self._epochs.kept(key)) if event.done else []
        else:
            epoch = self._epochs.heard(event.epoch, event.metrics, event.rr)
            new = [] if epoch is None else [epoch]
        for one in new:
            stage.epochs.setdefault(one.number, one)
        self._audience.heard(stage.waiters, stage.heard())

    def ended(self, outcome: StageOutcome) -> None:
        """A worker has answered.

        Raises:
            StorageError: the storage refuses.
        """
        stage = self._stages.get(outcome.key)
        if stage is None:
            return
        stopping = stage.state is StageState.STOPPING
        stage.state = StageState.IDLE
        match outcome.ending:
            case Ending.DONE:
                self.trained.add(outcome.key)
                self._stored(stage, trained=True)
            case Ending.STORED:
                self._stored(stage, trained=False)
            case Ending.BUSY:
                self._look_later(stage)
            case Ending.BROKEN_TEACHER:
                self._retrain_teacher(stage, outcome.message)
            case Ending.FAILED if stopping and outcome.kind is not FailureKind.DISK:
                self._store.call_pruned(outcome.key)  # as it was told to; who has joined since finds it in the queue
            case Ending.FAILED:
                self._handle_failure(stage, replace(outcome, kind=outcome.kind or FailureKind.BUG))

    def stop(self, reason: str) -> None:
        """Fail every trial that waits, and later ones that want what is not stored."""
        self.stopped = reason
        for number in self._stages.all_waiters():
            self._fail_trial(number, reason)

    def _is_elsewhere(self, stage: WantedStage) -> bool:
        """Whether another run trains it; one that is stored by now has been answered."""
        key = stage.job.key
        if stage.look_at is not None and self._clock() < stage.look_at:
            return True
        if self._store.lease_held(key):
            self._look_later(stage)
            return True
        # Looked at after the lease: whoever held it publishes first and lets go then.
        if stage.look_at is not None and self._store.has(key):
            self._stored(stage, trained=False)
            return True
        stage.look_at = None
        return False

    def _look_later(self, stage: WantedStage) -> None:
        if stage.look_at is None:
            self._listen(StageElsewhere(stage.job.key))
        stage.look_at = self._clock() + LOOK_EVERY_S

    def _stored(self, stage: WantedStage, *, trained: bool) -> None:
        stage.state, stage.look_at = StageState.STORED, None
        stage.students.clear()
        self._listen(StageStored(stage.job.key, trained))
        self._answer(stage)

    def _answer(self, stage: WantedStage) -> None:
        """Tell every waiter that a stored stage is done; one whose artifact is broken is trained again, once."""
        try:
            self._audience.stored(stage.waiters, stage.job.key)
            stage.waiters.clear()
        except ArtifactBroken as error:
            if stage.job.key in self.trained:
                self._fail_stage(stage, FailureKind.BUG, str(error))
            else:
                self._set_aside(stage, str(error))
        except UserError as error:
            self._fail_stage(stage, FailureKind.BUG, str(error))

    def _set_aside(self, stage: WantedStage, reason: str) -> None:
        self._store.set_aside(stage.job.key, reason)
        stage.state = StageState.IDLE
        self._listen(ArtifactSetAside(stage.job.key, reason))

    def _lacks_teacher(self, stage: WantedStage) -> bool:
        """Whether its teacher has to be trained again first."""
        teacher = None if stage.job.teacher_key is None else self._stages.get(stage.job.teacher_key)
        return teacher is not None and stage.job.key in teacher.students

    def _retrain_teacher(self, stage: WantedStage, reason: str) -> None:
        waiting = self._stages.waiting(stage)
        job = self._audience.job_of(waiting, stage.job.teacher_key)
        if job is None:
            if waiting:  # else it was released meanwhile
                self._fail_stage(stage, FailureKind.BUG, f"its teacher is broken and no part of the chain: {reason}")
            return
        teacher = self._stages.want(job)
        if teacher.state is StageState.FAILED:
            self._fail_stage(stage, teacher.failure or FailureKind.BUG, teacher.reason)
            return
        if teacher.state in (StageState.STORED, StageState.IDLE) and not teacher.students:
            self._set_aside(teacher, reason)
        teacher.students.add(stage.job.key)

    def _handle_failure(self, stage: WantedStage, outcome: StageOutcome) -> None:
        then = self._failures.try_again(outcome, stage.job)
        kind = outcome.kind or FailureKind.BUG
        if then is None:
            self._fail_stage(stage, kind, outcome.message)
        else:
            self._listen(StageTroubled(stage.job.key, kind, outcome.message, then))
        if self._failures.stopped is not None and self.stopped is None:
            self.stop(self._failures.stopped)

    def _fail_stage(self, stage: WantedStage, kind: FailureKind, message: str) -> None:
        """Fail every trial that waits for a stage, or for one that it teaches; later ones hear the same."""
        waiting = self._stages.waiting(stage)
        then = f"{len(waiting)} trial{'s' if len(waiting) != 1 else ''} that waited for it failed"
        self._listen(StageTroubled(stage.job.key, kind, message, then))
        self._stages.fail(stage, f"{stage.job.grade.name}: {kind.value}: {message}", kind)
        for number in sorted(waiting):
            self._fail_trial(number, stage.reason, kind)

    def _fail_trial(self, number: int, reason: str, kind: FailureKind | None = None) -> None:
        self._stages.leave(number)
        self._audience.failed(number, reason, kind)
