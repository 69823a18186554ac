"""Intervals for a mean over new seeds and new triples, and the p-value that they imply.

The hierarchical (pigeonhole) bootstrap over seeds and triples, with its variance in closed form and a correction for
few seeds. With A, B, R the mean squares over seeds, over triples and of the rest, each divided by S T, and t(n) the
quantile of Student's t with n degrees of freedom at the level asked for, the squared half-width is the larger of

    t(S-1)^2 A + t(T-1)^2 max(B - R, 0)        and        t(T-1)^2 B

Why so. Percentiles of the bootstrap itself do not do: of two seeds there are three resamples. One common t with
Satterthwaite's degrees of freedom does not do either: where two or three seeds happen to agree, A is small, the degrees
of freedom are thought large, and the interval comes out too narrow. Giving every source its own quantile is safe: if
Z^2 has a concave distribution function F (chi-square with 1 df has), then E F(w t^2 C + (1-w) t'^2 C') is at least
w E F(t^2 C) + (1-w) E F(t'^2 C') = the level, for every share w of the variance that is the seeds'. This proves
coverage for normal effects and A + B. A and B both contain R; taking it off once makes the interval as narrow as the
plain t interval over seeds where triples add nothing. That step is safe where triples are many; the second line keeps
it so where they are few. `python -m benchmarks.statistics_check` measures it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import ArrayLike

from pmd_ray.stats.bootstrap import resampled
from pmd_ray.stats.checked import Floats, finite, paired, share
from pmd_ray.stats.student import upper_quantile
from pmd_ray.stats.variance import MeanVariance, crossed
from pmd_ray.stats.words import Alternative, Over

SMALLEST_P = 1e-12
"""Smaller p-values are given as this one: no model of the seeds is right so far out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean and where it may lie for other seeds and other triples."""

    mean: float
    low: float
    """Also the one-sided bound at (1 + level) / 2: 97.5 % for a level of 0.95."""
    high: float
    standard_error: float
    """Without the correction for few seeds; NaN where there is one seed and one triple."""
    sd_over_seeds: float | None
    """Standard deviation of the seeds' means; none with one seed."""
    seeds: int
    triples: int
    over: Over
    level: float


def interval(values_ST: ArrayLike, *, level: float = 0.95, draws: int | None = None, seed: int = 0) -> Interval:
    """The interval of the mean of one variant's metric.

    Args:
        values_ST: [S, T] the metric of each seed on each test triple (mean of its two queries).
        level: Its coverage.
        draws: None takes the bootstrap's variance in closed form, as if of infinitely many draws; a number draws.
        seed: Of the draws.

    Raises:
        ValueError: Values that are not finite or not [S, T], or a level out of range.
    """
    values = finite(values_ST, axes=2)
    share(level, "level")
    found = crossed(values) if draws is None else resampled(values, draws=draws, seed=seed)
    half = sqrt(float(squared_half_width(found, 1 - level)))
    mean, over = float(found.mean), over_what(found)
    return Interval(
        mean=mean,
        low=mean - half,
        high=mean + half,
        standard_error=float("nan") if over is Over.NOTHING else sqrt(float(found.total)),
        sd_over_seeds=None if found.seeds == 1 else float(values.mean(axis=1).std(ddof=1)),
        seeds=found.seeds,
        triples=found.triples,
        over=over,
        level=level,
    )


def difference(
    a_ST: ArrayLike, b_ST: ArrayLike, *, level: float = 0.95, draws: int | None = None, seed: int = 0
) -> Interval:
    """The interval of the mean of a - b, paired by seed and triple. Arguments and errors as `interval`'s."""
    return interval(paired(a_ST, b_ST), level=level, draws=draws, seed=seed)


def over_what(found: MeanVariance) -> Over:
    """What can vary with so many seeds and triples."""
    match found.seeds > 1, found.triples > 1:
        case True, True:
            return Over.SEEDS_AND_TRIPLES
        case False, True:
            return Over.TRIPLES_ONLY
        case True, False:
            return Over.SEEDS_ONLY
    return Over.NOTHING


def squared_half_width(found: MeanVariance, outside: float) -> Floats:
    """Squared half-width [...] of the interval that leaves out `outside`, both sides together."""
    match over_what(found):
        case Over.TRIPLES_ONLY:
            return _squared_t(outside, found.triples) * found.triple
        case Over.SEEDS_ONLY:
            return _squared_t(outside, found.seeds) * found.seed
        case Over.NOTHING:
            return np.full_like(found.mean, np.inf)
        case Over.SEEDS_AND_TRIPLES:
            by_seed, by_triple = _squared_t(outside, found.seeds), _squared_t(outside, found.triples)
            return np.maximum(by_seed * found.seed + by_triple * found.beyond_seeds, by_triple * found.triple)


def interval_p(found: MeanVariance, alternative: Alternative) -> float:
    """The p-value of "the mean is 0": what must be left out for the interval to end at 0.

    One-sided, the right side gives half the two-sided p, a mean of 0 or on the wrong side 1: one less half the
    two-sided p, which is usual, would fall below the uniform distribution, because the two-sided p lies above it.
    """
    mean = float(found.mean)
    match alternative:
        case Alternative.TWO_SIDED:
            return _outside_at(found, mean)
        case Alternative.GREATER:
            return _outside_at(found, mean) / 2 if mean > 0 else 1.0
        case Alternative.LESS:
            return _outside_at(found, mean) / 2 if mean < 0 else 1.0


def _outside_at(found: MeanVariance, mean: float) -> float:
    """The share `outside` at which the half-width is |mean|; the half-width falls as it grows."""
    if mean == 0.0:
        return 1.0
    low, high = log(SMALLEST_P), 0.0
    for _ in range(40):
        middle = (low + high) / 2
        wider = float(squared_half_width(found, exp(middle))) > mean**2
        low, high = (middle, high) if wider else (low, middle)
    return exp(high)


def _squared_t(outside: float, units: int) -> float:
    return upper_quantile(outside / 2, units - 1) ** 2
