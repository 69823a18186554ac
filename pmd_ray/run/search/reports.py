"""What a trial says while it runs: a report after each epoch and each grade, or why it failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """How a trial stands after an epoch of its chain, or at the end of a grade."""

    number: int
    """Of the trial."""
    epoch: int
    """Of the chain, from 1: epochs of earlier grades count. A grade's end has the number of its last epoch."""
    grade: str
    grade_epoch: int
    """Epochs of this grade so far, from 1."""
    target_epoch: int
    """Epochs of the chain's last grade so far; 0 before it."""
    value: float
    """Metric on the validation split: of this epoch, or, when the grade is done, of the model that it keeps."""
    rr: tuple[float, ...] = ()
    """Reciprocal ranks of a fixed sample of validation triples, the same for every stage; may be empty."""
    last: bool = False
    """An epoch after which nothing is left to train: ending the trial here would save nothing."""
    grade_done: bool = False
    finished: bool = False
    """The chain is done: the last report."""
    standard_error: float | None = None
    """Of the value, over validation triples; this and the rest are None until finished."""
    parameters: int | None = None
    """Of the last grade."""
    latency_ms: float | None = None
    """Of the last grade, one query at a time."""
    seconds: float | None = None
    """CPU-seconds of all stages of the chain, whoever trained them (seconds on GPUs)."""

    def to_result(self) -> dict[str, Any]:
        """A flat dict for Ray Tune; `rr` as a list."""
        return {**asdict(self), "rr": list(self.rr)}

    @classmethod
    def of_result(cls, result: Mapping[str, Any]) -> TrialReport:
        """The report in a result of Ray Tune, which adds keys of its own."""
        known = {field.name: result[field.name] for field in fields(cls) if field.name in result}
        return cls(**{**known, "rr": tuple(known.get("rr", ()))})


class TrialFailed(Exception):
    """A stage of the trial failed; the reason names the grade, the kind of failure and what it said."""


class Source(Protocol):
    """Where a trial's reports come from."""

    def reports(self, number: int) -> Iterator[TrialReport]:
        """Every report of a trial, in order, as they come.

        Raises:
            TrialFailed: a stage failed.
        """
