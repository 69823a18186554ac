"""Results of a grade: what tables, JSON and later rooms read."""

from __future__ import annotations

from enum import StrEnum

from pydantic import ConfigDict, Field

from pmd_ray.spec.base import Frozen


class Metrics(Frozen):
    """Filtered ranking metrics over a set of queries; their JSON keys are `hits@1`, `hits@3` and `hits@10`."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    queries: int
    mrr: float
    """Mean reciprocal rank, in (0, 1]."""
    hits1: float = Field(alias="hits@1")
    """Share of queries with a rank of at most 1; a tie for the first place (1.5) does not count."""
    hits3: float = Field(alias="hits@3")
    hits10: float = Field(alias="hits@10")
    mr: float
    """Mean rank, from 1."""


class DirectionMetrics(Frozen):
    """Metrics over all queries and by direction."""

    all: Metrics
    forward: Metrics
    """Queries (head, relation, ?)."""
    backward: Metrics
    """Queries (?, relation, tail), asked as (tail, inverse relation, ?)."""


class RankingReport(DirectionMetrics):
    """Metrics of one model on one split: all queries, by direction, by relation; re-ranked ones beside them."""

    split: str
    by_relation: dict[str, Metrics]
    """By relation id, both directions together."""
    reranked: DirectionMetrics | None = None
    """With SimKGC's neighbour re-ranking."""


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

    def share_of_teacher(self, place: int) -> float | None:
        """A grade's test MRR as a share of the first grade's; None for the first."""
        first, grade = self.grades[0].test, self.grades[place].test
        return grade.all.mrr / first.all.mrr if place and first and grade else None
