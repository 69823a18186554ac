"""CPU seconds by phase, medians of interleaved repetitions.

A machine's speed drifts while others work on it. Ways that take turns drift together, so that their ratio within one
run holds where their seconds do not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

Phases = dict[str, float]
"""CPU seconds by what was done."""


class Clock:
    """Adds up the CPU seconds of all threads of this process, phase by phase."""

    def __init__(self) -> None:
        self._spent: Phases = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is done inside counts for that phase."""
        begun = time.process_time()
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + time.process_time() - begun

    def take(self) -> Phases:
        """What was spent since the last call."""
        spent, self._spent = self._spent, {}
        return spent


@dataclass(frozen=True)
class Times:
    """What one way of doing a piece of work cost, in each repetition."""

    repetitions: list[Phases]

    @property
    def seconds(self) -> float:
        """The median repetition."""
        return statistics.median(sum(phases.values()) for phases in self.repetitions)

    @property
    def phases(self) -> Phases:
        """The median of each phase."""
        names = dict.fromkeys(name for phases in self.repetitions for name in phases)
        return {name: statistics.median(phases.get(name, 0.0) for phases in self.repetitions) for name in names}


def interleaved(ways: Mapping[str, Callable[[int], Phases | None]], repeat: int) -> dict[str, Times]:
    """Let several ways take turns.

    Args:
        ways: Each is called with the repetition's number, from 0, and returns its phases; where it returns None, the
            whole call is one phase, `all`.
        repeat: Turns of each.
    """
    found: dict[str, list[Phases]] = {name: [] for name in ways}
    for number in range(repeat):
        for name, way in ways.items():
            gc.collect()  # what the last one left is not this one's to clear
            begun = time.process_time()
            phases = way(number)
            spent = time.process_time() - begun
            found[name].append({"all": spent} if phases is None else phases)
    return {name: Times(repetitions) for name, repetitions in found.items()}
