"""From ranks to the report of a split: all queries, by direction, by relation, re-ranked ones beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pmd_ray.spec.results import DirectionMetrics, Metrics, RankingReport

Floats = NDArray[np.float64]


def summarise(ranks: Floats) -> Metrics:
    """Metrics over the ranks [Q] of at least one query, not rounded."""
    if not len(ranks):
        raise ValueError("metrics need at least one rank")
    return Metrics(
        queries=len(ranks),
        mrr=float(np.mean(1.0 / ranks)),
        hits1=float(np.mean(ranks <= 1)),
        hits3=float(np.mean(ranks <= 3)),
        hits10=float(np.mean(ranks <= 10)),
        mr=float(np.mean(ranks)),
    )


def report_of(
    ranks: Floats,
    relations: NDArray[np.integer],
    relation_ids: Sequence[str],
    *,
    split: str,
    reranked: Floats | None = None,
) -> RankingReport:
    """The report of one split.

    Args:
        ranks: [Q] filtered ranks of queries in both directions.
        relations: [Q] relation numbers; from R on they are inverses, and their queries backward.
        relation_ids: The R ids, which name the relations in the report.
        split: Its name.
        reranked: [Q] ranks of the same queries with the neighbour bonus.

    Raises:
        ValueError: Lengths differ, or a direction has no query.
    """
    if len(relations) != len(ranks) or (reranked is not None and len(reranked) != len(ranks)):
        raise ValueError(f"{len(ranks)} ranks need as many relations and re-ranked ranks")
    backward, written = relations >= len(relation_ids), relations % len(relation_ids)
    plain = by_direction(ranks, backward)
    return RankingReport(
        split=split,
        all=plain.all,
        forward=plain.forward,
        backward=plain.backward,
        by_relation={relation_ids[number]: summarise(ranks[written == number]) for number in np.unique(written)},
        reranked=None if reranked is None else by_direction(reranked, backward),
    )


def by_direction(ranks: Floats, backward: NDArray[np.bool_]) -> DirectionMetrics:
    """Metrics of all ranks [Q], and of those of each direction."""
    both, forward, back = summarise(ranks), summarise(ranks[~backward]), summarise(ranks[backward])
    return DirectionMetrics(all=both, forward=forward, backward=back)
