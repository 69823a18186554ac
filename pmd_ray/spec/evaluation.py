"""How a model's ranks are measured (method factors eval.*)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pmd_ray.spec.base import Frozen


class RerankConfig(Frozen):
    """SimKGC's neighbour re-ranking: candidates within `hops` of the head gain `weight` on their cosine."""

    weight: float = Field(default=0.05, gt=0.0)
    """Added to the cosine. Source: SimKGC, eval.sh."""
    hops: int = Field(default=2, ge=1)
    """Steps over training triples. Source: SimKGC, eval.sh: 2 on FB15k-237, 5 on WN18RR."""


class EvaluationConfig(Frozen):
    """Filtered ranking against all entities, both directions."""

    ties: Literal["mean", "sorted"] = "mean"
    """Equal scores count as the mean rank, or in the order of entity numbers. Source: released code (sorted, by
    torch.sort)."""
    rerank: RerankConfig | None = None
    """Report re-ranked figures too, always beside the plain ones; null leaves them out. Source: SimKGC, eval.sh."""
