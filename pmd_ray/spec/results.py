"""Results of a grade: what tables, JSON and later rooms read."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from pmd_ray.spec.base import Frozen


class Metrics(Frozen):
    """Filtered ranking metrics over a set of queries."""

    queries: int
    mrr: float
    """Mean reciprocal rank, in (0, 1]."""
    hits1: float = Field(alias="hits@1", serialization_alias="hits@1")
    hits3: float = Field(alias="hits@3", serialization_alias="hits@3")
    hits10: float = Field(alias="hits@10", serialization_alias="hits@10")
    mr: float
    """Mean rank, from 1."""


class RankingReport(Frozen):
    """Metrics of one model on one split: all queries, by direction, by relation; re-ranked ones beside them."""

    split: str
    all: Metrics
    forward: Metrics
    """Queries (head, relation, ?)."""
    backward: Metrics
    """Queries (?, relation, tail), asked as (tail, inverse relation, ?)."""
    by_relation: dict[str, Metrics]
    reranked: Metrics | None = None


class GradeState(StrEnum):
    """How a training of a grade stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class GradeResult(Frozen):
    """What one grade leaves beside its model."""

    name: str
    key: str
    layers: int
    parameters: int
    """Weights of both towers, without the temperature; no poolers are built."""
    embedding_parameters: int
    mask_rate: float
    teacher: str | None
    valid: RankingReport | None
    test: RankingReport | None
    best_epoch: int
    epochs: int
    steps: int
    seconds: float
    """Wall-clock of training, validation and evaluation, over all its attempts."""
    cpu_seconds: float
    """CPU time of all workers, likewise."""
    unmasked_share: float
    """Share of texts of the feature loss in which no token was masked."""
    control_of: str | None = None
    """The student whose network this one trains without a teacher."""


class ChainResult(Frozen):
    """All grades of one chain, in order of training."""

    out: str
    dataset: str
    dataset_fingerprint: str
    encoder: str
    seed: int
    device: str
    versions: dict[str, str]
    grades: tuple[GradeResult, ...]
