"""Non-inferiority: a smaller model is worse by less than a margin that was named beforehand.

"No significant difference" supports no such claim: few seeds alone are enough for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from pmd_ray.stats.interval import Interval
from pmd_ray.stats.words import Over, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class NonInferiority:
    """Whether the difference is shown to lie above minus the margin."""

    bound: float
    """One-sided lower bound of the difference a - b."""
    level: float
    """Of the bound, one-sided: 0.975 for an interval at 0.95."""
    margin: float
    verdict: Verdict


def non_inferiority(difference: Interval, margin: float) -> NonInferiority:
    """Judge the interval of a - b, of which more is better, by its lower end.

    The interval must be over seeds and triples; with 1 seed or 1 triple there is no test. With few seeds the bound
    rests on roughly normal seed effects: no exact test backs it, as it does "better".

    Args:
        difference: From `interval.difference`; its level of 0.95 gives the usual one-sided 97.5 %.
        margin: The loss that would not matter, in the metric's unit (0.005 is half a point of MRR); above 0.

    Raises:
        ValueError: A margin that is not above 0.
    """
    check_margin(margin)
    return NonInferiority(
        bound=difference.low, level=(1 + difference.level) / 2, margin=margin, verdict=_verdict(difference, margin)
    )


def check_margin(margin: float) -> None:
    """Raise a ValueError unless the margin is above 0."""
    if not (isfinite(margin) and margin > 0.0):
        raise ValueError(f"a margin must be above 0, got {margin}; 0.005 is half a point of MRR")


def _verdict(difference: Interval, margin: float) -> Verdict:
    match difference.over:
        case Over.TRIPLES_ONLY | Over.NOTHING:
            return Verdict.ONE_SEED
        case Over.SEEDS_ONLY:
            return Verdict.ONE_TRIPLE
        case Over.SEEDS_AND_TRIPLES:
            return Verdict.NOT_INFERIOR if difference.low > -margin else Verdict.NOT_SHOWN_NOT_INFERIOR
