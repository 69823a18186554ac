"""Paired comparison of trials on the same validation triples: is one surely worse than the best at the same place?

After Optuna's `WilcoxonPruner` (Wilcoxon 1945; `optuna/pruners/_wilcoxon.py`): there the pairs are steps, here triples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FEWEST = 2
"""Pairs that a comparison needs."""


def p_worse(ours: Floats, theirs: Floats) -> float:
    """p of the one-sided signed-rank test that ours [T] are no smaller than theirs [T]; 1 where all are equal."""
    from scipy.stats import wilcoxon

    apart = ours - theirs
    if not apart.any():
        return 1.0
    # zsplit: triples that both rank alike (most of them) count half for either side, so they do not decide.
    return float(wilcoxon(apart, alternative="less", zero_method="zsplit").pvalue)


@dataclass
class PairedLooks:
    """Reciprocal ranks of all trials by place (epochs), and who leads there."""

    p_threshold: float
    at: dict[int, dict[int, Floats]] = field(default_factory=dict)
    """Place to trial to reciprocal ranks."""
    ends: dict[int, float] = field(default_factory=dict)
    """Final values of finished trials."""
    running: set[int] = field(default_factory=set)
    """Trials that have neither ended nor been stopped."""

    def add(self, number: int, place: int, rr: Sequence[float]) -> bool:
        """Keep what a trial reported at a place; False where it did already, or reported no ranks."""
        there = self.at.setdefault(place, {})
        if number in there or len(rr) < FEWEST:
            return False
        there[number] = np.asarray(rr, dtype=np.float64)
        return True

    def finish(self, number: int, value: float) -> None:
        """Note that a trial came to its end."""
        self.ends[number] = value

    def rival(self, number: int, place: int) -> int | None:
        """Whom a trial is compared with: the best finished one that has been at the place, else who leads there.

        Trials that were stopped or failed do not count: whoever resumes a search no longer has their ranks.
        """
        there = [other for other in self.at.get(place, {}) if other != number]
        ended = [other for other in there if other in self.ends]
        if ended:
            return max(ended, key=lambda other: (self.ends[other], -other))
        leading = [other for other in there if other in self.running]
        return max(leading, key=lambda other: (self.at[place][other].mean(), -other), default=None)

    def verdict(self, number: int, place: int) -> str | None:
        """Why a trial should end at a place; None where it may go on."""
        other = self.rival(number, place)
        if other is None:
            return None
        ours, theirs = self.at[place][number], self.at[place][other]
        if ours.shape != theirs.shape or ours.mean() >= theirs.mean():
            return None
        p = p_worse(ours, theirs)
        # Ranks that are no numbers have no p either: the trial goes on, and fails by itself.
        if not p < self.p_threshold:
            return None
        return (
            f"its reciprocal ranks on {len(ours)} triples ({ours.mean():.4g} on average) are below those of trial "
            f"{other} there ({theirs.mean():.4g}), p = {p:.2g} (Wilcoxon)"
        )
