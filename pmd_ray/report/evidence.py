"""What the store has of a study: each of its stages read once, and why those that are missing are missing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import Field, ValidationError

from pmd_ray.report.triple_ranks import TripleRanks, read_triple_ranks
from pmd_ray.spec.attempt import Attempt, AttemptState, FailureKind, Provenance, Record
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import GradeResult
from pmd_ray.spec.study_record import StudyRecord
from pmd_ray.store.artifacts import ArtifactBroken

if TYPE_CHECKING:
    from pmd_ray.store.store import Store

RESULT, RANKS, COSTS = "result.json", "test_ranks.parquet", "costs.json"
EVENTS = "tensorboard/"
"""Where an artifact has the event files of its training."""


class Costs(Record):
    """What using a model costs, as measured when its stage ended."""

    latency_ms: dict[str, float] = Field(default_factory=dict)
    """Milliseconds of one batch by its size."""
    peak_memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    device: str | None = None
    """Device class, such as `cpu-fp32`."""
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage whose artifact is there and read."""

    result: GradeResult
    ranks: TripleRanks
    provenance: Provenance
    costs: Costs | None
    events: tuple[str, ...]
    """Its event files, by their names in the artifact."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that a report rests on."""

    stages: Mapping[str, Stage]
    """By key; the artifacts that can be read."""
    attempts: Mapping[str, tuple[Attempt, ...]]
    """By key, for every stage of the study."""
    unreadable: Mapping[str, str]
    """Artifacts that are there and cannot be used: key to what is wrong."""

    def why_missing(self, key: str) -> str | None:
        """Why a stage has no figures; None where it has."""
        if key in self.stages:
            return None
        if key in self.unreadable:
            return self.unreadable[key]
        tries = self.attempts.get(key, ())
        return worded(tries[-1]) if tries else "not trained"

    def valid_mrr(self, key: str) -> float | None:
        """Validation MRR of a stage; None where it was not validated, or is missing."""
        stage = self.stages.get(key)
        return stage.result.valid.all.mrr if stage and stage.result.valid else None

    @property
    def triples(self) -> pa.Table | None:
        """The test triples that all stages rank (`head`, `relation`, `tail`); None without a stage."""
        return next((stage.ranks.triples for stage in self.stages.values()), None)


def gather(record: StudyRecord, store: Store) -> Evidence:
    """Read every stage of a study once.

    Raises:
        UserError: Two artifacts rank different test triples, so that no table may hold both.
        StorageError: The storage does not answer.
    """
    stages: dict[str, Stage] = {}
    unreadable: dict[str, str] = {}
    for key in record.keys:
        try:
            stage = read_stage(store, key)
        except (ArtifactBroken, UserError, ValidationError, pa.ArrowException) as error:
            unreadable[key] = f"cannot be read: {str(error).splitlines()[0]}"
        else:
            stages |= {key: stage} if stage else {}
    _same_triples(stages)
    attempts = {key: tuple(_settled(store, key)) for key in record.keys}
    return Evidence(stages=stages, attempts=attempts, unreadable=unreadable)


def _settled(store: Store, key: str) -> list[Attempt]:
    """The attempts of a stage; one that runs although nobody holds the stage's lease has been lost."""
    attempts = store.attempts(key)
    last = attempts[-1] if attempts else None
    if last is not None and last.state is AttemptState.RUNNING and store.local and not store.lease_held(key):
        attempts[-1] = last.model_copy(update={"state": AttemptState.LOST, "failure": FailureKind.NODE_LOST})
    return attempts


def read_stage(store: Store, key: str) -> Stage | None:
    """Read one artifact, its model left out; None where there is none.

    Raises:
        ArtifactBroken, UserError, ValidationError, ArrowException: It is there and cannot be used.
        StorageError: The storage does not answer.
    """
    manifest = store.manifest(key)
    if manifest is None:
        return None
    there = [entry.path for entry in manifest.files]
    if RANKS not in there:
        raise UserError("it was not ranked on the test split")
    return Stage(
        result=GradeResult.model_validate_json(store.open_file(key, RESULT)),
        ranks=read_triple_ranks(io.BytesIO(store.open_file(key, RANKS))),
        provenance=manifest.provenance,
        costs=Costs.model_validate_json(store.open_file(key, COSTS)) if COSTS in there else None,
        events=tuple(name for name in there if name.startswith(EVENTS)),
    )


def worded(attempt: Attempt) -> str:
    """How an attempt ended, in a word or two."""
    match attempt.state:
        case AttemptState.FAILED:
            return f"failed ({attempt.failure.value})" if attempt.failure else "failed"
        case AttemptState.DONE:
            return "trained, its artifact is gone"
        case AttemptState.RUNNING:
            return "being trained"
        case AttemptState.PLANNED | AttemptState.PRUNED | AttemptState.LOST:
            return attempt.state.value


def _same_triples(stages: Mapping[str, Stage]) -> None:
    first = next(iter(stages.items()), None)
    for key, stage in stages.items():
        if first is not None and not stage.ranks.triples.equals(first[1].ranks.triples):
            raise UserError(
                f"stages {first[0][:12]} and {key[:12]} rank different test triples; figures over both would mean "
                "nothing: make a study of its own for each graph"
            )
