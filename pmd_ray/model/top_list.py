"""The best candidates of each query, kept while blocks of scores pass by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

# Shapes: b queries of a block, c entities of it, T places, N candidates.
STRIP = 32
"""Columns under one maximum when candidates are looked for: a maximum is far cheaper than a sort."""


class TopLists:
    """[b, T] scores and entity numbers, best first, equal scores by entity number; -inf and -1 where there is none."""

    def __init__(self, rows: int, top: int, device: torch.device) -> None:
        self.scores_bT = torch.full((rows, top), -torch.inf, dtype=torch.float64, device=device)
        self.ids_bT = torch.full((rows, top), -1, dtype=torch.int64, device=device)

    def add(self, rows_N: Tensor, ids_N: Tensor, scores_N: Tensor) -> None:
        """Take in candidates that are not in the lists yet."""
        count, top = self.scores_bT.shape
        own = torch.arange(count, device=rows_N.device).repeat_interleave(top)
        rows = torch.cat([own, rows_N])
        ids = torch.cat([self.ids_bT.flatten(), ids_N])
        scores = torch.cat([self.scores_bT.flatten(), scores_N])
        order = torch.argsort(ids, stable=True)
        order = order[torch.argsort(scores[order], stable=True, descending=True)]
        order = order[torch.argsort(rows[order], stable=True)]
        lengths = torch.bincount(rows, minlength=count)
        starts = lengths.cumsum(0) - lengths
        best_bT = order[starts[:, None] + torch.arange(top, device=order.device)]
        self.scores_bT, self.ids_bT = scores[best_bT], ids[best_bT]

    def rough_candidates(self, scores_bc: Tensor, error: float) -> tuple[Tensor, Tensor]:
        """[N] rows and columns of all that may belong to the lists, given scores that are wrong by at most `error`."""
        missing = -scores_bc.shape[1] % STRIP
        whole_bc = pad(scores_bc, (0, missing), value=-torch.inf) if missing else scores_bc
        strips_bnS = whole_bc.view(len(whole_bc), -1, STRIP)
        best_bn = strips_bnS.amax(2)
        floor_b = (self.scores_bT[:, -1] - error).float()
        if best_bn.shape[1] >= (top := self.scores_bT.shape[1]):
            floor_b = torch.maximum(floor_b, best_bn.topk(top, dim=1).values[:, -1] - 2 * error)
        floor_b.clamp_(min=torch.finfo(torch.float32).min)
        rows, strips = (best_bn >= floor_b[:, None]).nonzero(as_tuple=True)
        hits, columns = (strips_bnS[rows, strips] >= floor_b[rows, None]).nonzero(as_tuple=True)
        return rows[hits], strips[hits] * STRIP + columns

    def exact_candidates(self, scores_bc: Tensor) -> tuple[Tensor, Tensor]:
        """[N] rows and columns of the best T of exact scores, of equal ones the first."""
        top = min(self.scores_bT.shape[1], scores_bc.shape[1])
        floor_b1 = scores_bc.topk(top, dim=1).values[:, -1:]
        level_bc = scores_bc == floor_b1
        level_bc &= level_bc.cumsum(1, dtype=torch.int32) <= top
        level_bc |= scores_bc > floor_b1
        rows, columns = (level_bc & (scores_bc > -torch.inf)).nonzero(as_tuple=True)
        return rows, columns
