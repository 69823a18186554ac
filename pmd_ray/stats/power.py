"""What can be resolved: the smallest difference that so many seeds and triples would show, before money is spent.

Simulated from the model of `variance`, with the tests of `compare`: a difference is shown when the p of the table is at
or below 1 - level. Light: numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, sqrt

import numpy as np

from pmd_ray.stats.checked import Floats, share
from pmd_ray.stats.interval import squared_half_width
from pmd_ray.stats.sign_flip import smallest_sign_flip_p
from pmd_ray.stats.variance import MeanVariance
from pmd_ray.stats.words import Alternative

TRIALS = 4000
"""Simulated experiments: the answer is good to about 2 %."""
ENUMERATED_UP_TO = 10
"""Seeds up to which the exact test is simulated; with more its floor is far off and it agrees with the t test."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Standard deviations of a paired difference: of its seed effect, its triple effect, and the rest."""

    seed: float
    triple: float
    rest: float


ASSUMED_RECIPROCAL_RANK = Spread(seed=0.005, triple=0.10, rest=0.15)
"""Where nothing is measured. Per triple 0.18 in all: two chains on UMLS over 3 seeds (661 triples) gave 0.006, 0.14 and
0.17, a student against its own teacher 0.00 to 0.01, 0.03 to 0.13 and 0.11 to 0.20; shared notes assume 0.15 to 0.25
per query. An assumption: measure it with `variance.variance_components` as soon as two seeds of a pair are stored."""
ASSUMED_HITS_AT_1 = Spread(seed=0.006, triple=0.12, rest=0.25)
"""Likewise; UMLS gave 0.000 to 0.012, 0.04 to 0.16 and 0.19 to 0.30."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolvable:
    """The answer, or why there is none."""

    difference: float | None
    """In the metric's unit; None where no difference would do."""
    reason: str
    """Why there is none, and the way out; empty where there is one."""
    smallest_p: float | None
    """What the exact test cannot go below; None with one seed, and for a margin."""
    by_interval: float | None
    """The difference at which the interval alone would leave out 0 so often: what few seeds can hint at."""


def smallest_difference(
    seeds: int,
    triples: int,
    sd_seed: float = ASSUMED_RECIPROCAL_RANK.seed,
    sd_triple: float = ASSUMED_RECIPROCAL_RANK.triple,
    sd_rest: float = ASSUMED_RECIPROCAL_RANK.rest,
    *,
    level: float = 0.95,
    power: float = 0.8,
    alternative: Alternative = Alternative.TWO_SIDED,
    comparisons: int = 1,
) -> Resolvable:
    """The true difference that is found with probability `power`.

    Args:
        seeds: Paired seeds.
        triples: Test triples (half the queries).
        sd_seed: Standard deviation of the difference's seed effect; the defaults are assumptions, see above.
        sd_triple: Of its triple effect.
        sd_rest: Of what is left in one seed on one triple.
        level: A difference is shown at p <= 1 - level.
        power: Wanted probability.
        alternative: GREATER and LESS ask one side only.
        comparisons: Tests of the question: the strictest step of Holm's correction is taken.

    Raises:
        ValueError: A count below 1, a negative spread, or a level or power out of range.
    """
    spread = _checked(seeds, triples, Spread(seed=sd_seed, triple=sd_triple, rest=sd_rest), level, power)
    if comparisons < 1:
        raise ValueError(f"a question has at least 1 comparison, got {comparisons}")
    if one := _one_of_them(seeds, triples):
        return one
    floor, limit = smallest_sign_flip_p(seeds, alternative), (1 - level) / comparisons
    one_sided = limit / (2 if alternative is Alternative.TWO_SIDED else 1)
    reason = _too_few(seeds, floor, level, alternative, comparisons) if floor > limit + 1e-12 else ""
    return Resolvable(
        difference=None if reason else _needed(seeds, triples, spread, one_sided, True, power),
        reason=reason,
        smallest_p=floor,
        by_interval=_needed(seeds, triples, spread, one_sided, False, power),
    )


def smallest_margin(
    seeds: int,
    triples: int,
    sd_seed: float = ASSUMED_RECIPROCAL_RANK.seed,
    sd_triple: float = ASSUMED_RECIPROCAL_RANK.triple,
    sd_rest: float = ASSUMED_RECIPROCAL_RANK.rest,
    *,
    level: float = 0.95,
    power: float = 0.8,
) -> Resolvable:
    """The margin within which two equal variants are shown to be non-inferior with probability `power`.

    `level` is the interval's, its bound one-sided at (1 + level) / 2. Other arguments and errors as above.
    """
    spread = _checked(seeds, triples, Spread(seed=sd_seed, triple=sd_triple, rest=sd_rest), level, power)
    if one := _one_of_them(seeds, triples):
        return one
    found = _needed(seeds, triples, spread, (1 - level) / 2, False, power)
    return Resolvable(difference=found, reason="", smallest_p=None, by_interval=found)


def fewest_seeds(level: float, alternative: Alternative, comparisons: int = 1) -> int:
    """With how many seeds the exact test can reach 1 - level at all. Two-sided at 0.95: 6."""
    limit = (1 - share(level, "level")) / comparisons + 1e-12
    seeds = 1
    while smallest_sign_flip_p(seeds, alternative) > limit:
        seeds += 1
    return seeds


@lru_cache(maxsize=256)
def _needed(seeds: int, triples: int, spread: Spread, one_sided: float, exact: bool, power: float) -> float:
    """The difference that passes at `one_sided` in a share `power` of simulated experiments.

    In each, both tests pass from some true difference on; the quantile of the larger of the two is the answer.
    """
    mean_N, seed_NS, found = _experiments(seeds, triples, spread)
    needed_N = np.sqrt(squared_half_width(found, 2 * one_sided)) - mean_N
    if exact and seeds <= ENUMERATED_UP_TO:
        needed_N = np.maximum(needed_N, _from_sign_flips(seed_NS, one_sided))
    return float(np.quantile(needed_N, power))


def _experiments(seeds: int, triples: int, spread: Spread) -> tuple[Floats, Floats, MeanVariance]:
    """Means [N], seed means [N, S] and mean squares of experiments without a difference, drawn as such."""
    random = np.random.default_rng(0)
    rest, triple = spread.rest**2 / triples, spread.triple**2 / triples
    noise_NS = random.standard_normal((TRIALS, seeds)) * sqrt(spread.seed**2 + rest)
    seed_NS = noise_NS + random.standard_normal((TRIALS, 1)) * sqrt(triple)
    mean_square = _chi_squares(random)
    found = MeanVariance(
        mean=seed_NS.mean(axis=1),
        seed=seed_NS.var(axis=1, ddof=1) / seeds,
        triple=(triple + rest / seeds) * mean_square(triples - 1),
        rest=rest / seeds * mean_square((seeds - 1) * (triples - 1)),
        seeds=seeds,
        triples=triples,
    )
    return found.mean, seed_NS, found


def _chi_squares(random: np.random.Generator) -> Callable[[int], Floats]:
    return lambda df: random.chisquare(df, TRIALS) / df


def _from_sign_flips(seed_NS: Floats, one_sided: float) -> Floats:
    """From which added difference [N] on the exact test passes.

    Flipping the seeds of a set F lowers the sum unless their mean is below zero. So with K sign vectors allowed, the
    added difference must exceed all but K - 1 of the means of sets with their sign changed (Hartigan 1969).
    """
    seeds = seed_NS.shape[1]
    allowed = int(one_sided * 2**seeds + 1e-9)
    member_FS = (np.arange(1, 2**seeds)[:, None] >> np.arange(seeds) & 1).astype(np.float64)
    means_NF = seed_NS @ (member_FS / member_FS.sum(axis=1, keepdims=True)).T
    return -np.partition(means_NF, allowed - 1, axis=1)[:, allowed - 1]


def _checked(seeds: int, triples: int, spread: Spread, level: float, power: float) -> Spread:
    share(level, "level")
    share(power, "power")
    if seeds < 1 or triples < 1:
        raise ValueError(f"power needs at least 1 seed and 1 triple, got {seeds} and {triples}")
    if not all(isfinite(sd) and sd >= 0 for sd in (spread.seed, spread.triple, spread.rest)):
        raise ValueError(f"standard deviations must be 0 or more, got {spread}")
    return spread


def _one_of_them(seeds: int, triples: int) -> Resolvable | None:
    if min(seeds, triples) > 1:
        return None
    unit = "seed" if seeds == 1 else "triple"
    return Resolvable(difference=None, reason=f"1 {unit}, no test; take 2 or more", smallest_p=None, by_interval=None)


def _too_few(seeds: int, floor: float, level: float, alternative: Alternative, comparisons: int) -> str:
    two_sided = alternative is Alternative.TWO_SIDED
    over = f" over {comparisons} comparisons" if comparisons > 1 else ""
    named = fewest_seeds(level, Alternative.GREATER, comparisons)
    way_out = f"take {fewest_seeds(level, alternative, comparisons)} seeds"
    if two_sided:
        way_out += f", or {named} with a side named beforehand"
    return (
        f"with {seeds} paired seeds the exact {'two' if two_sided else 'one'}-sided sign-flip test cannot go below "
        f"p = {floor:.4g}, so no difference can be shown at {1 - level:.3g}{over}; {way_out}"
    )
