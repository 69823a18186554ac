"""The stages that trials want: who waits for each, which is next, and how each stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pmd_ray.run.search.results import Epoch
from pmd_ray.run.stage_job import StageJob
from pmd_ray.spec.attempt import FailureKind


class StageState(StrEnum):
    """How a stage stands in this search."""

    IDLE = "idle"
    """Nobody trains it for this search."""
    RUNNING = "running"
    STOPPING = "stopping"
    """Nobody waited for it any more; its worker has been told and has not answered yet."""
    STORED = "stored"
    FAILED = "failed"


@dataclass
class WantedStage:
    """A stage that a trial has asked for."""

    job: StageJob
    """As planned."""
    asked: int
    """Place in the order of asking."""
    state: StageState = StageState.IDLE
    waiters: list[int] = field(default_factory=list)
    """Trials that have asked for it and have no answer."""
    students: set[str] = field(default_factory=set)
    """Keys of stages that it teaches and that cannot start: its artifact was broken."""
    epochs: dict[int, Epoch] = field(default_factory=dict)
    """Heard so far, by number."""
    look_at: float | None = None
    """Another run trains it: time of the next look."""
    reason: str = ""
    """Why it failed."""
    failure: FailureKind | None = None

    def heard(self) -> list[Epoch]:
        """The epochs in order."""
        return [self.epochs[number] for number in sorted(self.epochs)]


class WantedStages:
    """All stages that any trial has asked for, by key."""

    def __init__(self) -> None:
        self._stages: dict[str, WantedStage] = {}
        self._asked = 0

    def get(self, key: str) -> WantedStage | None:
        """A stage, where a trial has asked for it."""
        return self._stages.get(key)

    def want(self, job: StageJob) -> WantedStage:
        """The stage of a job; one that nobody waits for goes to the end of the queue."""
        stage = self._stages.setdefault(job.key, WantedStage(job, self._asked))
        if not self.waiting(stage):
            stage.asked = self._asked
        self._asked += 1
        return stage

    def waiting(self, stage: WantedStage) -> set[int]:
        """The trials that wait for a stage, or for one that it has to be trained again for."""
        found = set(stage.waiters)
        for key in stage.students:
            found |= self.waiting(self._stages[key])
        return found

    def leave(self, number: int) -> None:
        """A trial waits for nothing any more."""
        for stage in self._stages.values():
            if number in stage.waiters:
                stage.waiters.remove(number)

    def fail(self, stage: WantedStage, reason: str, kind: FailureKind) -> None:
        """A stage will not be stored, nor those that need it again."""
        stage.state, stage.reason, stage.failure = StageState.FAILED, reason, kind
        students, stage.students = stage.students, set()
        for key in students:
            self.fail(self._stages[key], reason, kind)

    def all_waiters(self) -> list[int]:
        """Every trial that waits for a stage."""
        return sorted({number for stage in self._stages.values() for number in stage.waiters})

    def queue(self) -> list[WantedStage]:
        """Idle stages that are waited for: those with more waiters first, the earlier asked for where equal."""
        waited = [(len(self.waiting(stage)), stage) for stage in self.all(StageState.IDLE)]
        return [stage for count, stage in sorted(waited, key=lambda pair: (-pair[0], pair[1].asked)) if count]

    def all(self, *states: StageState) -> list[WantedStage]:
        """The stages in some states."""
        return [stage for stage in self._stages.values() if stage.state in states]
