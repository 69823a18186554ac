"""Sign-flip permutation over triples, labelled for what it is: these seeds, other triples.

It says whether the models that were trained differ, not whether training again would give such a difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pmd_ray.stats.checked import Floats, finite
from pmd_ray.stats.sign_flip import TIE, at_least, sign_flips
from pmd_ray.stats.words import Alternative

LABEL = "these seeds, other triples"
AT_ONCE = 250_000
"""Signs held in memory at a time."""


def triple_permutation(
    differences_ST: ArrayLike,
    alternative: Alternative = Alternative.TWO_SIDED,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """The p-value of the mean difference when each triple (its mean over the seeds) may change its sign.

    All sign vectors are taken where they are no more than `draws`; otherwise `draws` random ones and the observed,
    which makes the p-value valid at every level (Phipson and Smyth 2010) for independent, symmetric triples.

    Args:
        differences_ST: [S, T] paired differences.
        alternative: Of which side.
        draws: At least 1.
        seed: Of the draws.

    Raises:
        ValueError: Values that are not finite or not [S, T], or no draws.
    """
    if draws < 1:
        raise ValueError(f"a permutation test needs draws, got {draws}; 10000 is usual")
    means = finite(differences_ST, axes=2).mean(axis=0)
    return float(permuted(means[None], alternative, draws=draws, seed=seed)[0])


def permuted(means_NT: Floats, alternative: Alternative, *, draws: int, seed: int) -> Floats:
    """p [N] of many rows of triples, all with the same random signs."""
    means_NT = means_NT[:, (means_NT != 0).any(axis=0)]
    rows, triples = means_NT.shape
    if triples < 20 and 2**triples <= draws:
        return sign_flips(means_NT, alternative)
    random = np.random.default_rng(seed)
    observed, slack = means_NT.sum(axis=1), TIE * np.abs(means_NT).sum(axis=1)
    extreme = np.zeros(rows, np.int64)
    size = max(1, AT_ONCE // triples)
    for start in range(0, draws, size):
        kept = random.integers(0, 2, (min(size, draws - start), triples), np.int8).astype(np.float64)
        sums = 2 * (kept @ means_NT.T) - observed
        extreme += at_least(sums, observed, slack, alternative).sum(axis=0)
    return np.asarray((extreme + 1) / (draws + 1))
