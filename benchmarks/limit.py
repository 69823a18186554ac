"""The least that an encoder's matrix products can cost: the tokens that are needed, at the rate of one large product.

Counted are the products of the layers alone, without padding: 8 D^2 + 4 D F operations a token and 4 n^2 D a text of n
tokens (D width, F width of the feed-forward part), for each layer. A backward pass is twice its forward pass.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch

SIDE = 2048
"""Rows and columns of the large product: its operands are far larger than any cache, and 17 G operations."""
WITH_BACKWARD = 3.0
"""A forward and a backward pass, in forward passes."""


def forward_operations(lengths: np.ndarray, config: Any, layers: int) -> float:
    """Floating-point operations of one forward pass over texts of those lengths [U], each as long as it is.

    Args:
        lengths: Tokens of each text, special ones included; padded ones too where that is what is to be counted.
        config: The tower's Hugging Face configuration.
        layers: Transformer layers.
    """
    width, inner = int(config.hidden_size), int(config.intermediate_size)
    tokens, pairs = float(lengths.sum()), float(np.square(lengths.astype(np.float64)).sum())
    return layers * (tokens * (8 * width * width + 4 * width * inner) + pairs * 4 * width)


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
