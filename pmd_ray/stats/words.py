"""The words of the room: what was asked, what an interval is about, what may be said."""

from __future__ import annotations

from enum import StrEnum


class Alternative(StrEnum):
    """What a test looks for in the difference a - b of a metric of which more is better."""

    TWO_SIDED = "two-sided"
    GREATER = "greater"
    """a is better."""
    LESS = "less"
    """a is worse."""


class Over(StrEnum):
    """What an interval lets vary; the rest is taken as it was."""

    SEEDS_AND_TRIPLES = "seeds and triples"
    TRIPLES_ONLY = "triples only"
    """1 seed: how another seed would come out is not known."""
    SEEDS_ONLY = "seeds only"
    """1 triple."""
    NOTHING = "nothing"
    """1 seed and 1 triple: the interval is without end."""


class Verdict(StrEnum):
    """What a comparison supports, no more."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE_SHOWN = "no difference shown"
    """Which is not: no difference."""
    NOT_INFERIOR = "not inferior"
    """Worse by less than the margin, if at all."""
    NOT_SHOWN_NOT_INFERIOR = "not shown to be non-inferior"
    TOO_FEW_SEEDS = "too few seeds for the exact test"
    """It cannot reach the level with this many, whatever the values."""
    ONE_SEED = "1 seed, no test"
    ONE_TRIPLE = "1 triple, no test"
