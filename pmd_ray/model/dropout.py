"""Dropout whose draws cost an eighth of torch's own on a CPU, and are those of a text, whoever encodes it beside what.

Torch draws a CPU's Bernoulli variables one after another (9 ns each; a training pass of MiniLM spends as much on them
as on a tenth of its matrix products). Here a value is kept where 16 bits of a fast generator are at least
round(65,536 p), and is scaled by the inverse of just that chance, so that the expectation is right for every p.

Every text has a generator of its own, seeded by the pass's key and the text's number. So neither the groups that texts
are cut into (gradient caching, `optimiser.micro_batch`) nor the number of workers changes what is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LEVELS = 1 << 16


class Drawn:
    """Factors for the texts of a group: 0, or what makes up for the zeros.

    Args:
        key: Of the pass, from 0.
        numbers: [R] of the texts, in any order; equal ones get equal factors.
        dtype: Of the factors.
    """

    def __init__(self, key: int, numbers: Sequence[int], dtype: torch.dtype) -> None:
        self._bits = [np.random.SFC64([key, number]) for number in numbers]
        self._dtype = dtype

    def __call__(self, texts: range, sizes: Sequence[int], chance: float, *, more: int = 0) -> Tensor | None:
        """The next factors of some texts, end to end; None where nothing is dropped.

        Args:
            texts: Which of the group's.
            sizes: How many factors each of them wants.
            chance: To be dropped.
            more: Zeros behind them.
        """
        dropped = round(chance * LEVELS)
        if dropped == 0:
            return None
        bits = np.empty(sum(sizes) + more, dtype=np.uint16)
        start = 0
        for text, size in zip(texts, sizes, strict=True):
            bits[start : start + size] = self._bits[text].random_raw(-(-size // 4)).view(np.uint16)[:size]
            start += size
        bits[start:] = 0
        scale = np.float32(LEVELS / (LEVELS - dropped)) if dropped < LEVELS else np.float32(0.0)
        return torch.from_numpy((bits >= dropped) * scale).to(self._dtype)


def nothing_dropped(texts: range, sizes: Sequence[int], chance: float, *, more: int = 0) -> Tensor | None:
    """Of evaluation."""
    return None
