"""What the store keeps of a search: every trial with its point, stages, reports and end. Resume and report read it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.base import Frozen
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.study_record import RunHeader, StageUse

FORMAT = 1
"""Raised when fields change their meaning."""
SAMPLED, DEFAULT, PAPER = "sampled", "default", "paper"
"""Origins of trials: points that were drawn, the baseline as it is, the paper's setting."""


class TrialState(StrEnum):
    """How a trial stands."""

    RUNNING = "running"
    DONE = "done"
    PRUNED = "pruned"
    """Ended early because others were better."""
    FAILED = "failed"
    """A stage of it failed."""


class Report(Frozen):
    """What a trial reported after an epoch or a grade."""

    epoch: int
    """Epochs of the chain so far, from 1."""
    grade: str
    grade_epoch: int
    """Epochs of this grade so far, from 1."""
    value: float
    """Validation metric."""
    grade_done: bool = False


class EarlierTry(Frozen):
    """A failure of a trial that was asked again afterwards."""

    told: int
    """Place of its end in the order of asks and tells."""
    again: int
    """Place at which it was asked again."""
    failure: FailureKind | None = None
    reason: str = ""


class TrialRecord(Frozen):
    """One trial, in the order of asking."""

    number: int
    """From 0 over the whole search."""
    round: str
    """The Optuna study that it belongs to: `layers-2` (target depth), `grade-1` (place of the grade)."""
    origin: str
    """`sampled`, or what an enqueued point is called: `default`, `paper`, `masks 30/15/10/0`."""
    parent: int | None = None
    """Strategy grade: number of the trial whose last grade teaches."""
    params: dict[str, Any] = Field(default_factory=dict)
    """What was drawn; of a point outside the space what of it lies inside."""
    distributions: dict[str, str] = Field(default_factory=dict)
    """Of the parameters, as Optuna writes them (`distribution_to_json`)."""
    inside: bool = True
    """Whether the space holds the point; the sampler is not told of others."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Dotted settings that differ from the baseline: what was tried, in the words of `--set`."""
    layers: tuple[int, ...]
    mask_rates: tuple[float, ...]
    """Of the students."""
    alphas: tuple[float, ...] = ()
    """Of the students; weight of the score loss."""
    betas: tuple[float, ...] = ()
    """Of the students; weight of the feature loss."""
    stages: tuple[StageUse, ...]
    """In the order of training."""
    state: TrialState = TrialState.RUNNING
    value: float | None = None
    """Validation metric of the last grade; None until it is done."""
    standard_error: float | None = None
    """Of the value, over validation triples."""
    values: tuple[float, ...] = ()
    """Of every objective, the metric first, where there are several."""
    parameters: int | None = None
    """Of the last grade."""
    latency_ms: float | None = None
    """Of the last grade, one query at a time."""
    seconds: float | None = None
    """CPU-seconds of its stages had it trained all of them (GPU-seconds on GPUs)."""
    reports: tuple[Report, ...] = ()
    reason: str = ""
    """Why it was pruned or failed."""
    failure: FailureKind | None = None
    """Of the stage that it failed with; None where it did not, or where no stage of it did."""
    earlier: tuple[EarlierTry, ...] = ()
    """Failures after which it was asked again."""
    asked: int = 0
    """Place in the order of asks and tells, from 0."""
    told: int | None = None
    started: str = ""
    """UTC, ISO 8601."""
    ended: str | None = None
    system: dict[str, Any] = Field(default_factory=dict)
    """What Optuna's sampler noted on the trial."""


class SearchRecord(RunHeader):
    """A search as it stands."""

    format: int = FORMAT
    search: SearchConfig
    at_once: int = 1
    """Trials at once: 1 is reproducible."""
    seconds: float = 0.0
    """Wall-clock of all its runs so far."""
    trials: tuple[TrialRecord, ...] = ()
    warm: tuple[TrialRecord, ...] = ()
    """Finished trials of earlier searches that the sampler was told of at the start."""
    stopped: str | None = None
    """Why it ended: its budget, all points tried, all trials failing; None while it goes on."""
    confirm: str | None = None
    """Folder of the confirming study, relative to the search's own."""

    @property
    def id(self) -> str:
        """Its name in the store."""
        return search_id(self.search)

    def in_round(self, name: str) -> list[TrialRecord]:
        """The trials of one Optuna study."""
        return [trial for trial in self.trials if trial.round == name]


def search_id(search: SearchConfig) -> str:
    """What a store calls a search: equal for files that mean the same."""
    return f"search-{search.name}-{search.meaning[:12]}"
