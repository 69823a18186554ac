"""What a study tells its caller while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pmd_ray.spec.attempt import FailureKind
from pmd_ray.train.events import Event


@dataclass(frozen=True)
class StageEvent:
    """Something happened in the training of a stage."""

    key: str
    event: Event


@dataclass(frozen=True)
class StageBegun:
    """A stage was handed to a worker."""

    key: str


@dataclass(frozen=True)
class StageStored:
    """A stage is in the store; `trained` here, or found there."""

    key: str
    trained: bool


@dataclass(frozen=True)
class StageElsewhere:
    """Another run trains it; this one waits for it."""

    key: str


@dataclass(frozen=True)
class StageTroubled:
    """An attempt ended badly."""

    key: str
    kind: FailureKind
    message: str
    then: str
    """What follows: it is tried again, or its branch ends."""


@dataclass(frozen=True)
class ArtifactSetAside:
    """A stored artifact was broken; it is trained again."""

    key: str
    reason: str


StudyEvent = StageEvent | StageBegun | StageStored | StageElsewhere | StageTroubled | ArtifactSetAside
StudyListener = Callable[[StudyEvent], None]


def unheard(event: StudyEvent) -> None:
    """A listener that listens to nothing."""
