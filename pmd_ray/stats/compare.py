"""A variant against its control: difference, interval, tests, and the verdict that they support together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from numpy.typing import ArrayLike

from pmd_ray.stats.checked import Floats, paired, share
from pmd_ray.stats.interval import Interval, interval, interval_p
from pmd_ray.stats.non_inferiority import check_margin
from pmd_ray.stats.permutation import triple_permutation
from pmd_ray.stats.sign_flip import sign_flip, smallest_sign_flip_p
from pmd_ray.stats.variance import MeanVariance, crossed
from pmd_ray.stats.words import Alternative, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What a table prints about one pair. `difference` is a - b; the p-values test what `alternative` says."""

    difference: Interval
    alternative: Alternative
    margin: float | None
    """With a margin every p-value is about "worse by the margin or more", and the verdict about non-inferiority."""
    p: float | None
    """The p of the table, about other seeds and other triples; None with 1 seed or 1 triple. The larger of p_seeds
    and p_interval; with a margin twice the one-sided p_interval, so that p <= 1 - level is the interval's own
    one-sided bound at (1 + level) / 2."""
    p_adjusted: float | None
    """Holm's, once `family.adjust` has seen all comparisons of the question."""
    family: int
    """Number of tests in that question; 1 before."""
    smallest_p: float | None
    """What p cannot go below with so many seeds; None with a margin or without a test."""
    p_interval: float | None
    """Other seeds, other triples; takes the seeds' effects as roughly normal."""
    p_seeds: float | None
    """Exact sign-flip: other seeds, these triples."""
    p_triples: float | None
    """Permutation: these seeds, other triples. None with 1 triple."""

    @property
    def verdict(self) -> Verdict:
        """What may be said, from the adjusted p where there is one."""
        p, limit = self.p if self.p_adjusted is None else self.p_adjusted, 1 - self.difference.level + 1e-12
        if p is None:
            return Verdict.ONE_SEED if self.difference.seeds == 1 else Verdict.ONE_TRIPLE
        if self.margin is not None:
            return Verdict.NOT_INFERIOR if p <= limit else Verdict.NOT_SHOWN_NOT_INFERIOR
        if p <= limit:
            return Verdict.BETTER if self.difference.mean > 0 else Verdict.WORSE
        if self.smallest_p is not None and self.smallest_p * self.family > limit:
            return Verdict.TOO_FEW_SEEDS
        return Verdict.NO_DIFFERENCE_SHOWN


def compare(
    a_ST: ArrayLike,
    b_ST: ArrayLike,
    *,
    alternative: Alternative = Alternative.TWO_SIDED,
    margin: float | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare a with b over the same seeds and triples.

    The p of the table. The sign-flip test over seeds is exact, but all differences share the test triples: where
    triples vary, it takes the luck of these triples for an effect. The interval's p holds for new triples too, but
    leans on roughly normal seed effects. A p that is never below either is valid where one of them is, hence their
    maximum; it keeps the exact test's floor of 2^-S (twice that two-sided).

    Args:
        a_ST: [S, T] the variant's metric of each seed on each triple; more is better (negate a rank).
        b_ST: [S, T] the control's.
        alternative: TWO_SIDED, or the side that was named beforehand.
        margin: Ask for non-inferiority by this margin instead; `alternative` becomes GREATER.
        level: Of the interval, and 1 - level of the verdict.
        draws: Of the permutation over triples.
        seed: Of the permutation.

    Raises:
        ValueError: Shapes differ, values are not finite, a level or margin is out of range, LESS with a margin.
    """
    differences = paired(a_ST, b_ST)
    share(level, "level")
    tested = differences
    if margin is not None:
        check_margin(margin)
        if alternative is Alternative.LESS:
            raise ValueError("non-inferiority asks whether a is not worse; leave the alternative out, or swap a and b")
        alternative, tested = Alternative.GREATER, differences + margin
    found = crossed(tested)
    p_interval, p_seeds = _over_seeds(tested, found, alternative)
    return Comparison(
        difference=interval(differences, level=level),
        alternative=alternative,
        margin=margin,
        p=_of_table(p_interval, p_seeds, margin),
        p_adjusted=None,
        family=1,
        smallest_p=smallest_sign_flip_p(found.seeds, alternative)
        if margin is None and p_interval is not None
        else None,
        p_interval=p_interval,
        p_seeds=p_seeds,
        p_triples=None if found.triples == 1 else triple_permutation(tested, alternative, draws=draws, seed=seed),
    )


def adjusted(comparison: Comparison, p: float | None, *, family: int) -> Comparison:
    """The comparison after a correction over `family` tests; its verdict follows."""
    return replace(comparison, p_adjusted=p, family=family)


def _over_seeds(tested: Floats, found: MeanVariance, alternative: Alternative) -> tuple[float | None, float | None]:
    if found.seeds == 1:
        return None, None
    p_seeds = sign_flip(tested.mean(axis=1), alternative)
    return (interval_p(found, alternative) if found.triples > 1 else None), p_seeds


def _of_table(p_interval: float | None, p_seeds: float | None, margin: float | None) -> float | None:
    if p_interval is None or p_seeds is None:
        return None
    return max(p_interval, p_seeds) if margin is None else min(1.0, 2 * p_interval)
