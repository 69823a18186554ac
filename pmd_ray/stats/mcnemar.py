"""McNemar's exact test for Hits@k: of the queries that one model hits and the other misses, who has more?

It takes queries as independent: the two directions of a triple are not quite, so with them its p is too small where
triples differ much. It is about the trained models at hand (these seeds, other queries): a habit of the field, kept
beside the p-value of the table, never in its place.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmd_ray.stats.checked import finite
from pmd_ray.stats.words import Alternative


def mcnemar(hits_a: ArrayLike, hits_b: ArrayLike, alternative: Alternative = Alternative.TWO_SIDED) -> float:
    """The exact p-value for one seed.

    Args:
        hits_a: [Q] whether a's answer counts as a hit: booleans, or 0 and 1.
        hits_b: [Q] the same queries of b.
        alternative: GREATER: a hits more.

    Raises:
        ValueError: Lengths differ, or something is neither 0 nor 1.
    """
    return mcnemar_over_seeds(np.asarray(hits_a)[None], np.asarray(hits_b)[None], alternative)


def mcnemar_over_seeds(
    hits_a_SQ: ArrayLike, hits_b_SQ: ArrayLike, alternative: Alternative = Alternative.TWO_SIDED
) -> float:
    """The p-value of "in every one of these seeds a hits more" (or fewer; two-sided: the same way in all).

    Queries cannot be pooled over seeds: they are the same queries. Instead each seed is tested alone and the largest of
    the one-sided p-values is taken, which is valid however the seeds depend on each other (intersection-union; Berger
    1982); two-sided, twice the smaller of the two directions. It gains nothing by more seeds: it claims more with each.

    Raises:
        ValueError: Shapes differ, or something is neither 0 nor 1.
    """
    a, b = _hits(hits_a_SQ), _hits(hits_b_SQ)
    if a.shape != b.shape:
        raise ValueError(f"McNemar's test needs the same queries, got shapes {a.shape} and {b.shape}")
    only_a, only_b = (a & ~b).sum(axis=1), (~a & b).sum(axis=1)
    greater = max(_tail(int(x), int(y)) for x, y in zip(only_a, only_b, strict=True))
    less = max(_tail(int(y), int(x)) for x, y in zip(only_a, only_b, strict=True))
    match alternative:
        case Alternative.TWO_SIDED:
            return min(1.0, 2 * min(greater, less))
        case Alternative.GREATER:
            return greater
        case Alternative.LESS:
            return less


def _hits(hits_SQ: ArrayLike) -> NDArray[np.bool_]:
    values = finite(hits_SQ, axes=2)
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError("hits must be 0 or 1 for each query; a triple's mean over its two queries is no hit")
    return values.astype(bool)


def _tail(ours: int, theirs: int) -> float:
    """P(X >= ours) for X binomial with ours + theirs throws of a fair coin, in whole numbers."""
    throws = ours + theirs
    term = total = comb(throws, theirs)
    for fewer in range(theirs, 0, -1):
        term = term * fewer // (throws - fewer + 1)
        total += term
    return total / (1 << throws)
