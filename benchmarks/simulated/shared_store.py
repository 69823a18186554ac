"""A store by a virtual clock, in which other runs train some of the stages meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

STORES = 0.9
"""Of the stages that another run trains, those that it finishes; the others' leases fall free."""


@dataclass
class Clock:
    """Seconds since the beginning."""

    now: float = 0.0


class SharedStore:
    """What a walk asks of a store.

    Args:
        share: Of stages that another run takes: half of them before this one looks, half between its look and start.
        expected: Seconds that another run takes for each stage.
    """

    def __init__(self, clock: Clock, *, share: float, expected: Mapping[str, float], draw: Random) -> None:
        self._clock, self._share, self._expected, self._draw = clock, share, expected, draw
        self.stored: set[str] = set()
        """By this run."""
        self.elsewhere: dict[str, tuple[float, bool]] = {}
        """Stages that another run has taken: when its lease ends, and whether the stage is stored then."""
        self._looked_at: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether a stage is stored."""
        until, stores = self.elsewhere.get(key, (0.0, False))
        return key in self.stored or (stores and until <= self._clock.now)

    def lease_held(self, key: str) -> bool:
        """Whether another run trains it now."""
        if self._share and key not in self._looked_at:
            self._looked_at.add(key)
            if self._draw.random() < self._share / 2:
                self.begin_elsewhere(key)
        return self.elsewhere.get(key, (0.0, False))[0] > self._clock.now

    def set_aside(self, key: str, reason: str) -> str:
        """Put a stage out of the way."""
        self.stored.discard(key)
        return f"aside/{key}"

    def taken_now(self, key: str) -> bool:
        """Whether another run takes a stage between our look and our start."""
        return self._share > 0.0 and key not in self.elsewhere and self._draw.random() < self._share / 2

    def begin_elsewhere(self, key: str) -> None:
        """Another run trains a stage from now on."""
        self.elsewhere[key] = (self._clock.now + self._expected[key], self._draw.random() < STORES)
