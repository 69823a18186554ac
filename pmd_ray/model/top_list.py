"""The best candidates of each query, kept while blocks of scores pass by.

They are kept by rough scores, a few more than are asked for, and told apart without rounding once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pmd_ray.model.strips import Strips

# Shapes: b queries of a block, T places, N candidates.


class TopLists:
    """Candidates of b queries, among them the best T of all that were offered.

    Args:
        error: No rough score is further from the exact one.
    """

    def __init__(self, rows: int, top: int, *, error: float, device: torch.device) -> None:
        self.length = top
        """T"""
        self._rows, self._error = rows, error
        self._rows_N = self._ids_N = torch.empty(0, dtype=torch.int64, device=device)
        self._rough_N = torch.empty(0, dtype=torch.float32, device=device)
        self._last_b = torch.full((rows,), -torch.inf, device=device)
        """The T-th best rough score when the candidates were last cut down."""
        self._cut = 0
        """Candidates that were left then."""

    def candidates(self, strips: Strips) -> tuple[Tensor, Tensor, Tensor]:
        """[N] rows, columns and rough scores of all that may belong to the lists."""
        floor_b = self._last_b
        if strips.maxima_bn.shape[1] >= self.length and bool(floor_b.isneginf().any()):
            floor_b = torch.maximum(floor_b, strips.maxima_bn.topk(self.length, dim=1).values[:, -1])
        return strips.reaching(self._reachable(floor_b))

    def offer(self, rows_N: Tensor, ids_N: Tensor, rough_N: Tensor) -> None:
        """Take in candidates that were not offered before; once they have doubled, those out of reach are dropped."""
        self._rows_N, self._ids_N = torch.cat([self._rows_N, rows_N]), torch.cat([self._ids_N, ids_N])
        self._rough_N = torch.cat([self._rough_N, rough_N.float()])
        if len(self._rows_N) < 2 * self._cut:
            return
        order, place = _ranked(self._rows_N, self._rough_N, self._rows)
        last = order[place == self.length - 1]
        self._last_b[self._rows_N[last]] = self._rough_N[last]
        keep = order[self._rough_N[order] >= self._reachable(self._last_b)[self._rows_N[order]]]
        self._rows_N, self._ids_N, self._rough_N = self._rows_N[keep], self._ids_N[keep], self._rough_N[keep]
        self._cut = len(keep)

    def best(self, exact_pairs: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """[b, T] exact scores and entity numbers, equal scores by number; -inf and -1 where there is none.

        Args:
            exact_pairs: Rows and entities [N] to scores [N] without rounding.
        """
        by_id = torch.argsort(self._ids_N, stable=True)
        rows, ids = self._rows_N[by_id], self._ids_N[by_id]
        scores = exact_pairs(rows, ids)
        order, place = _ranked(rows, scores, self._rows)
        inside = place < self.length
        order, place = order[inside], place[inside]
        scores_bT = torch.full((self._rows, self.length), -torch.inf, dtype=torch.float64, device=rows.device)
        ids_bT = torch.full((self._rows, self.length), -1, dtype=torch.int64, device=rows.device)
        scores_bT[rows[order], place] = scores[order]
        ids_bT[rows[order], place] = ids[order]
        return scores_bT, ids_bT

    def _reachable(self, floor_b: Tensor) -> Tensor:
        """Rough scores below these are exactly below what has that rough score; -inf is nobody's."""
        return (floor_b.double() - 2 * self._error).float().clamp_(min=torch.finfo(torch.float32).min)


def _ranked(rows_N: Tensor, scores_N: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Candidates row by row, best first, equal ones as they came: order [N], and each one's place in its row [N]."""
    if scores_N.dtype == torch.float32:
        # One sort of whole numbers: rows above, below them bits that fall as scores rise (-0.0 is 0.0).
        bits_N = (scores_N + 0.0).view(torch.int32)
        rising_N = bits_N ^ ((bits_N >> 31) & 0x7FFFFFFF)
        order = torch.argsort((rows_N << 33) - rising_N, stable=True)
    else:
        order = torch.argsort(scores_N, stable=True, descending=True)
        order = order[torch.argsort(rows_N[order], stable=True)]
    lengths = torch.bincount(rows_N, minlength=rows)
    starts = lengths.cumsum(0) - lengths
    place = torch.arange(len(order), device=order.device) - starts[rows_N[order]]
    return order, place
