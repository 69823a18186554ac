"""What passes between whoever wants stages trained and the workers that train them: jobs, outcomes, pool and store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pmd_ray.plan.tree import PlannedStage
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import ChainStage
from pmd_ray.spec.grade import GradeConfig


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

    @classmethod
    def of(cls, stage: ChainStage | PlannedStage, chain: ChainConfig) -> StageJob:
        """What trains a stage of a chain."""
        return cls(
            key=stage.key,
            chain=chain,
            grade=stage.grade,
            teacher_key=stage.teacher_key,
            teacher=stage.teacher,
            control_of=stage.control_of,
        )


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
    node: str | None = None
    """Whose disk refused; None: that of the node where the stage began."""
    progressed: bool = False
    """Whether the next attempt goes on later than this one did."""


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


class StoppingPool(Pool, Protocol):
    """A pool that can stop one stage and go on with the others."""

    def cancel_one(self, key: str) -> None:
        """Stop a stage at a place where it resumes; `wait` still tells how it ended, within seconds."""


class Stored(Protocol):
    """What is asked of the store."""

    def has(self, key: str) -> bool:
        """Whether a stage is stored."""

    def lease_held(self, key: str) -> bool:
        """Whether someone trains it now."""

    def set_aside(self, key: str, reason: str) -> str:
        """Put a broken artifact out of the way."""


class StoppableStored(Stored, Protocol):
    """What a search asks of the store besides."""

    def call_pruned(self, key: str) -> None:
        """Say that a stage's last attempt was ended on purpose."""
