"""Stages that may be started, the longest remaining chain first; one that another run trains comes up at its time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from pmd_ray.plan.tree import StageTree


class ReadyStages:
    """A queue that takes what it is offered, twice where it is offered twice: whoever takes from it looks again.

    Args:
        cost: Seconds of each stage; of two equal chains the one that comes first in the file goes first.
    """

    def __init__(self, tree: StageTree, cost: Mapping[str, float]) -> None:
        longest = tree.longest_from(cost)
        self._rank = {key: (-longest[key], place, key) for place, key in enumerate(tree.stages)}
        self._heap: list[tuple[float, int, str]] = []
        self._later: list[tuple[float, str]] = []

    def offer(self, keys: Iterable[str]) -> None:
        """Stages that come up in their order, in this turn too."""
        for key in keys:
            heapq.heappush(self._heap, self._rank[key])

    def offer_at(self, key: str, at: float) -> None:
        """A stage that comes up in the first turn at or after a time."""
        heapq.heappush(self._later, (at, key))

    def turn(self, now: float) -> None:
        """A new turn: what is due comes up."""
        while self._later and self._later[0][0] <= now:
            self.offer([heapq.heappop(self._later)[1]])

    def take(self) -> str | None:
        """The stage that comes next in this turn."""
        return heapq.heappop(self._heap)[2] if self._heap else None
