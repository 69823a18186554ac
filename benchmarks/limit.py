"""The least that an encoder's matrix products can cost: those of the needed tokens, at the rate of one large product.

How they are counted: `pmd_ray/model/operations.py`.
"""

from __future__ import annotations

import statistics
import time

import torch

from pmd_ray.model.products import inner_products

SIDE = 2048
"""Rows and columns of the large product: its operands are far larger than any cache, and 17 G operations."""


class Rate:
    """Operations a CPU second of a large product, measured beside the work that it is the limit of.

    It is made by torch's own library and by the one that the product prefers; the faster counts.
    """

    def __init__(self, side: int = SIDE) -> None:
        random = torch.Generator().manual_seed(0)
        self._left, self._right = (torch.randn(side, side, generator=random) for _ in range(2))
        self._out = torch.empty(side, side)
        self._operations = 2.0 * side**3
        self._rates: list[float] = []
        self._multiply()

    def measure(self, number: int = 0) -> None:
        """One more product; a way of `clock.interleaved`, whose repetition's number it does not need."""
        self._rates.append(self._operations / max(min(self._multiply()), 1e-9))

    def _multiply(self) -> list[float]:
        """CPU seconds of each way."""
        seconds = []
        for multiply in (self._by_torch, self._as_the_product):
            begun = time.process_time()
            multiply()
            seconds.append(time.process_time() - begun)
        return seconds

    def _by_torch(self) -> None:
        torch.mm(self._left, self._right.T, out=self._out)

    def _as_the_product(self) -> None:
        inner_products(self._left, self._right, room_TO=self._out)

    @property
    def per_second(self) -> float:
        """The median."""
        return statistics.median(self._rates)

    def seconds(self, operations: float) -> float:
        """CPU seconds that so many operations take at that rate."""
        return operations / self.per_second
