"""Metrics of a test triple: both of its directions together, which is the unit of every interval and test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

METRICS = ("mrr", "hits@1", "hits@3", "hits@10", "mr")
"""In the order of every table; `mr` is the only one of which less is better."""
TITLES = {"mrr": "MRR", "hits@1": "Hits@1", "hits@3": "Hits@3", "hits@10": "Hits@10", "mr": "MR"}


def per_query(metric: str, ranks: Floats) -> Floats:
    """The metric of each query, in the shape of the ranks; a tie for place k (k + 0.5) is no hit at k."""
    if metric == "mrr":
        return 1.0 / ranks
    if metric == "mr":
        return ranks
    return (ranks <= int(metric.removeprefix("hits@"))).astype(np.float64)


def per_triple(metric: str, ranks_T2: Floats) -> Floats:
    """[T] the metric of each triple: the mean over its two queries."""
    return np.asarray(per_query(metric, ranks_T2).mean(axis=1))


def spread(values: Floats) -> float | None:
    """Standard deviation over seeds [S], with n - 1; None for one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
