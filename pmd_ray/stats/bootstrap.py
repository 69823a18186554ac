"""The plain pigeonhole bootstrap (Owen 2007): seeds and triples drawn anew, each with replacement, crossed.

Its variance is known without drawing (`variance.crossed`); this is the slow way, kept to check the fast one against.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pmd_ray.stats.checked import Floats, finite
from pmd_ray.stats.variance import MeanVariance

AT_ONCE = 2_000_000
"""Counts held in memory at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """Means [N] of N resampled tables."""

    seeds: Floats
    """Seeds drawn anew, triples kept."""
    triples: Floats
    """Triples drawn anew, seeds kept."""
    both: Floats
    """The same draws of seeds and of triples, together: the pigeonhole bootstrap."""


def pigeonhole(values_ST: ArrayLike, *, draws: int = 2000, seed: int = 0) -> Draws:
    """Resample the table [S, T] `draws` times.

    Raises:
        ValueError: Fewer than 2 draws, or values not in order.
    """
    values = finite(values_ST, axes=2)
    if draws < 2:
        raise ValueError(f"a bootstrap needs 2 draws, got {draws}; 2000 is usual")
    random = np.random.default_rng(seed)
    size = max(1, AT_ONCE // values.shape[1])
    parts = [_some(values, min(size, draws - start), random) for start in range(0, draws, size)]
    seeds, triples, both = (np.concatenate(means) for means in zip(*parts, strict=True))
    return Draws(seeds=seeds, triples=triples, both=both)


def resampled(values_ST: ArrayLike, *, draws: int = 2000, seed: int = 0) -> MeanVariance:
    """What `variance.crossed` computes, from draws.

    A bootstrap's variance over n units falls short by (n - 1) / n; here this is put right, which matters with
    few seeds. What is left of a draw after its two margins belongs to the rest.
    """
    values = finite(values_ST, axes=2)
    S, T = values.shape
    drawn = pigeonhole(values, draws=draws, seed=seed)
    rest = drawn.both - drawn.seeds - drawn.triples
    return MeanVariance(
        mean=np.asarray(values.mean()),
        seed=_scaled(drawn.seeds, S, S - 1),
        triple=_scaled(drawn.triples, T, T - 1),
        rest=_scaled(rest, S * T, (S - 1) * (T - 1)),
        seeds=S,
        triples=T,
    )


def _some(values: Floats, draws: int, random: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    S, T = values.shape
    weights_NS = random.multinomial(S, np.full(S, 1 / S), size=draws) / S
    weights_NT = random.multinomial(T, np.full(T, 1 / T), size=draws) / T
    both = ((weights_NT @ values.T) * weights_NS).sum(axis=1)
    return weights_NS @ values.mean(axis=1), weights_NT @ values.mean(axis=0), both


def _scaled(means: Floats, times: int, over: int) -> Floats:
    return np.asarray(means.var() * times / over if over else 0.0)
