"""The least that an encoder's matrix products can cost: those of the needed tokens, at the rate of one large product.

How they are counted: `pmd_ray/model/operations.py`.
"""

from __future__ import annotations

import statistics
import time

import torch

SIDE = 2048
"""Rows and columns of the large product: its operands are far larger than any cache, and 17 G operations."""


class Rate:
    """Operations a CPU second of a large product, measured beside the work that it is the limit of."""

    def __init__(self, side: int = SIDE) -> None:
        random = torch.Generator().manual_seed(0)
        self._left, self._right = (torch.randn(side, side, generator=random) for _ in range(2))
        self._out = torch.empty(side, side)
        self._operations = 2.0 * side**3
        self._rates: list[float] = []
        torch.mm(self._left, self._right, out=self._out)

    def measure(self, number: int = 0) -> None:
        """One more product; a way of `clock.interleaved`, whose repetition's number it does not need."""
        begun = time.process_time()
        torch.mm(self._left, self._right, out=self._out)
        self._rates.append(self._operations / max(time.process_time() - begun, 1e-9))

    @property
    def per_second(self) -> float:
        """The median."""
        return statistics.median(self._rates)

    def seconds(self, operations: float) -> float:
        """CPU seconds that so many operations take at that rate."""
        return operations / self.per_second
