"""Tails and quantiles of Student's t for whole degrees of freedom, without scipy: planning must not load it."""

from __future__ import annotations

from functools import lru_cache
from math import atan, cos, pi, sin, sqrt
from statistics import NormalDist

EXACT_UP_TO = 100
"""Degrees of freedom beyond which the expansion around the normal quantile is good to 1e-8 for tails from 1e-4 on."""


def upper_tail(t: float, df: int) -> float:
    """P(T > t) for t >= 0, by the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.

    Good to 1e-15 in absolute terms: of tails below 1e-12 only the size is right.
    """
    angle = atan(t / sqrt(df))
    cosine_2 = cos(angle) ** 2
    term = cos(angle) if df % 2 else 1.0
    total = 0.0
    for step in range(2 if df % 2 else 1, df, 2):
        total += term
        term *= cosine_2 * step / (step + 1)
    inside = 2 / pi * (angle + sin(angle) * total) if df % 2 else sin(angle) * total
    return max(0.0, (1.0 - inside) / 2)


@lru_cache(maxsize=4096)
def upper_quantile(tail: float, df: int) -> float:
    """The t >= 0 with P(T > t) = `tail`.

    Args:
        tail: Greater than 0, at most 0.5.
        df: Whole degrees of freedom, 1 or more.

    Raises:
        ValueError: A tail or degrees of freedom out of range.
    """
    if not 0.0 < tail <= 0.5 or df < 1:
        raise ValueError(f"a quantile needs 0 < tail <= 0.5 and df >= 1, got tail {tail} and df {df}")
    if df > EXACT_UP_TO:
        return _expansion(-NormalDist().inv_cdf(tail), df)
    low, high = 0.0, 1.0
    while upper_tail(high, df) > tail:
        low, high = high, high * 4
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if upper_tail(middle, df) > tail else (low, middle)
    return high


def _expansion(z: float, df: int) -> float:
    """Abramowitz and Stegun, 26.7.5."""
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(df) ** power for power, term in enumerate(terms, start=1))
