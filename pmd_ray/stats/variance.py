"""Where the variance of a mean over seeds and triples comes from: crossed analysis of variance.

The model: value[s, i] = mu + a_s + b_i + e_si; seeds s and triples i are both samples of what might have been drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from pmd_ray.stats.checked import Floats, finite

# Shapes: S seeds, T triples, ... any axes before them (many tables at once).


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanVariance:
    """The grand mean and the three mean squares behind its variance, each divided by S T. All [...]."""

    mean: Floats
    seed: Floats
    """Expected: var(a) / S + var(e) / (S T), the mean's variance over new seeds. 0 with one seed."""
    triple: Floats
    """Expected: var(b) / T + var(e) / (S T), the mean's variance over new triples. 0 with one triple."""
    rest: Floats
    """Expected: var(e) / (S T), which the two above both contain. 0 with one seed or one triple."""
    seeds: int
    triples: int

    @property
    def total(self) -> Floats:
        """Estimated variance of the mean over new seeds and new triples."""
        return self.seed + self.beyond_seeds

    @property
    def beyond_seeds(self) -> Floats:
        """What new triples add to the variance over new seeds: var(b) / T."""
        return np.maximum(self.triple - self.rest, 0.0)


def crossed(values_ST: Floats) -> MeanVariance:
    """Mean squares of tables [..., S, T], each divided by S T."""
    seeds, triples = values_ST.shape[-2:]
    mean = values_ST.mean(axis=(-2, -1))
    seed_S = values_ST.mean(axis=-1) - mean[..., None]
    triple_T = values_ST.mean(axis=-2) - mean[..., None]
    rest_ST = values_ST - mean[..., None, None] - seed_S[..., :, None] - triple_T[..., None, :]
    return MeanVariance(
        mean=np.asarray(mean),
        seed=_over((seed_S**2).sum(axis=-1), seeds * (seeds - 1)),
        triple=_over((triple_T**2).sum(axis=-1), triples * (triples - 1)),
        rest=_over((rest_ST**2).sum(axis=(-2, -1)), seeds * triples * (seeds - 1) * (triples - 1)),
        seeds=seeds,
        triples=triples,
    )


def variance_components(differences_ST: ArrayLike) -> tuple[float, float, float]:
    """Standard deviations (seed, triple, rest) of the model above; an estimate below zero counts as zero.

    Raises:
        ValueError: Fewer than 2 seeds or 2 triples, which cannot tell them apart, or values not in order.
    """
    values = finite(differences_ST, axes=2)
    seeds, triples = values.shape
    if min(seeds, triples) < 2:
        raise ValueError(f"variance components need 2 seeds and 2 triples, got {seeds} and {triples}")
    found = crossed(values)
    by_seed = max(0.0, float(found.seed - found.rest)) * seeds
    return sqrt(by_seed), sqrt(float(found.beyond_seeds) * triples), sqrt(float(found.rest) * seeds * triples)


def _over(total: Floats, divisor: int) -> Floats:
    return np.asarray(total / divisor if divisor else np.zeros_like(total))
