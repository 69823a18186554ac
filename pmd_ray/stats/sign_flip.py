"""The exact sign-flip test over seeds: were the differences as likely to come out with the other sign?

It asks about other seeds on *these* test triples. All differences of one table share their triples, so where triples
vary it is not valid for other triples; `compare` therefore takes the larger of this p and the interval's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmd_ray.stats.checked import Floats, finite
from pmd_ray.stats.words import Alternative

MOST_SEEDS = 20
"""2^20 sign vectors; beyond, an exact enumeration is no longer sensible."""
TIE = 1e-12
"""Sums that differ by less than this share of the sum of absolute values are tied: rounding must not lower a p."""


def sign_flip(differences_S: ArrayLike, alternative: Alternative = Alternative.TWO_SIDED) -> float:
    """The share of all 2^S sign vectors whose sum is at least as extreme as the one seen.

    Valid at every level where the differences are independent and symmetric about 0, of any shape.

    Raises:
        ValueError: Not finite, not [S], or more than 20 seeds.
    """
    return float(sign_flips(finite(differences_S, axes=1), alternative))


def sign_flips(differences_S: Floats, alternative: Alternative) -> Floats:
    """`sign_flip` of many rows [..., S] at once: p [...]."""
    seeds = differences_S.shape[-1]
    if seeds > MOST_SEEDS:
        raise ValueError(f"the exact test over seeds takes up to {MOST_SEEDS} of them, got {seeds}; use fewer")
    sums = np.zeros((*differences_S.shape[:-1], 1))
    for place in range(seeds):
        step = differences_S[..., place, None]
        sums = np.concatenate([sums + step, sums - step], axis=-1)
    observed = differences_S.sum(axis=-1)[..., None]
    slack = TIE * np.abs(differences_S).sum(axis=-1)[..., None]
    return np.asarray(at_least(sums, observed, slack, alternative).mean(axis=-1))


def smallest_sign_flip_p(seeds: int, alternative: Alternative = Alternative.TWO_SIDED) -> float:
    """The p that `sign_flip` cannot go below: all seeds on one side. 5 seeds: 0.0625 two-sided, 0.03125 one-sided."""
    if seeds < 1:
        raise ValueError(f"a test needs a seed, got {seeds}")
    sides = 2 if alternative is Alternative.TWO_SIDED else 1
    return min(1.0, sides * 0.5**seeds)


def at_least(sums: Floats, observed: Floats, slack: Floats, alternative: Alternative) -> NDArray[np.bool_]:
    """Which sums are as extreme as the observed one, ties included."""
    match alternative:
        case Alternative.TWO_SIDED:
            return np.abs(sums) >= np.abs(observed) - slack
        case Alternative.GREATER:
            return sums >= observed - slack
        case Alternative.LESS:
            return sums <= observed + slack
