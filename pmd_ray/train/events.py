"""What a training tells its caller while it runs; the command line turns it into progress bars, Ray into reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pmd_ray.spec.results import GradeResult, Metrics


@dataclass(frozen=True)
class Event:
    """Something happened in a grade."""

    grade: str


@dataclass(frozen=True)
class ChainPlanned(Event):
    """Before the first grade: which trainings are left, and about how many seconds they will take."""

    names: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class GradeStarted(Event):
    """A grade begins, or goes on after `done` of `steps` updates."""

    layers: int
    parameters: int
    steps: int
    done: int
    epochs: int
    epochs_done: int = 0
    """With their validation."""
    cpu_seconds: float = 0.0
    """Of all workers, until then."""


@dataclass(frozen=True)
class TextsEncoded(Event):
    """The teacher's table, a validation or a test: `done` of `total` texts are encoded."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class StepDone(Event):
    """One update."""

    done: int
    loss: float
    tokens_per_second: float
    """That the student encoded, padding apart, since the epoch began."""
    utilisation: float
    """Share of what a plain product reaches on the same workers: model FLOPs utilisation of the needed tokens."""


@dataclass(frozen=True)
class EpochDone(Event):
    """One epoch with its validation."""

    epoch: int
    epochs: int
    valid_mrr: float
    best: bool
    metrics: Metrics | None = None
    """Of the whole validation, both directions."""
    rr: tuple[float, ...] = ()
    """Reciprocal ranks of a fixed sample of validation triples (`evaluate.Ranked.reciprocal_ranks`)."""


@dataclass(frozen=True)
class EpochKept(Event):
    """An epoch is checkpointed: a killed training goes on after it."""

    epoch: int
    cpu_seconds: float = 0.0
    """Of all workers since the grade's very beginning."""


@dataclass(frozen=True)
class StepKept(Event):
    """A checkpoint within an epoch, after `done` updates, because a machine is about to be taken away."""

    done: int
    cpu_seconds: float = 0.0
    """As above."""

    @property
    def text(self) -> str:
        """Such as `kept after step 12: its machine is about to be taken away`."""
        return f"kept after step {self.done}: its machine is about to be taken away"


@dataclass(frozen=True)
class GradeDone(Event):
    """A grade is stored; `reused` if it was there already."""

    mrr: float | None
    seconds: float
    reused: bool
    cpu_seconds: float = 0.0

    @classmethod
    def of(cls, result: GradeResult, *, reused: bool) -> GradeDone:
        """The event of a result; one that was there already costs no seconds."""
        mrr = result.test.all.mrr if result.test else None
        if reused:
            return cls(result.name, mrr=mrr, seconds=0.0, reused=True)
        return cls(result.name, mrr=mrr, seconds=result.seconds, reused=False, cpu_seconds=result.cpu_seconds)


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener that listens to nothing."""
