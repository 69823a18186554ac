"""A block of scores cut into strips of a few columns, whose maxima tell which of them need a look.

Most strips hold nothing that a query's answer or its top list could care about, and a maximum is far cheaper than a
comparison that is written down: the better a model ranks, the less of a block is read twice.

Shapes: b queries of a block, n strips of each, W = n STRIP columns, S strips that need a look, N scores.
"""

from __future__ import annotations

import torch
from torch import Tensor

STRIP = 32
"""Columns under one maximum: a multiple of 8, at most 248 (`_row_counts`)."""
READ_WHOLE = 1 / 2
"""Above this share of strips that need a look, the whole block is compared."""
_BYTES = 0x0101010101010101
"""Times a word of eight small bytes: their sum stands in the highest."""


class Strips:
    """Scores [b, W] and the maxima of their strips.

    Args:
        scores_bW: Contiguous; -inf where there is no candidate.
    """

    def __init__(self, scores_bW: Tensor) -> None:
        self._rows = len(scores_bW)
        self._scores_sS = scores_bW.view(-1, STRIP)
        self.maxima_bn = self._scores_sS.amax(1).view(self._rows, -1)

    def reaching(self, floor_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, columns and scores [N] of all scores that reach their row's floor."""
        rows_S, strips_S = self._with_some(floor_b)
        some_SC = self._some(rows_S, strips_S)
        hits, columns = (some_SC >= floor_b[rows_S, None]).nonzero(as_tuple=True)
        return rows_S[hits], strips_S[hits] * STRIP + columns, some_SC[hits, columns]

    def compared(self, low_b: Tensor, high_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How many scores of each row reach `high` [b], and rows and columns [N] of those in [low, high)."""
        rows_S, strips_S = self._with_some(low_b)
        if len(rows_S) > READ_WHOLE * self.maxima_bn.numel():
            rows_S = torch.arange(self._rows, device=rows_S.device).repeat_interleave(self.maxima_bn.shape[1])
            strips_S = torch.arange(self.maxima_bn.shape[1], device=rows_S.device).repeat(self._rows)
            some_SC = self._scores_sS
        else:
            some_SC = self._some(rows_S, strips_S)
        above_S = _row_counts(some_SC >= high_b[rows_S, None])
        open_S = _row_counts(some_SC >= low_b[rows_S, None]) - above_S
        above_b = torch.zeros(self._rows, dtype=torch.int64, device=rows_S.device).index_add_(0, rows_S, above_S)
        places = open_S.nonzero(as_tuple=True)[0]
        rows_S, strips_S, some_SC = rows_S[places], strips_S[places], some_SC[places]
        between_SC = (some_SC >= low_b[rows_S, None]) & (some_SC < high_b[rows_S, None])
        hits, columns = between_SC.nonzero(as_tuple=True)
        return above_b, rows_S[hits], strips_S[hits] * STRIP + columns

    def _with_some(self, floor_b: Tensor) -> tuple[Tensor, Tensor]:
        rows_S, strips_S = (self.maxima_bn >= floor_b[:, None]).nonzero(as_tuple=True)
        return rows_S, strips_S

    def _some(self, rows_S: Tensor, strips_S: Tensor) -> Tensor:
        return self._scores_sS.index_select(0, rows_S * self.maxima_bn.shape[1] + strips_S)


def _row_counts(truths_SC: Tensor) -> Tensor:
    """[S] how many of each strip are true: eight bytes of 0 or 1 are one word, whose bytes add up in one product."""
    words_S = truths_SC.view(torch.int64).sum(1)
    return (words_S * _BYTES) >> 56
