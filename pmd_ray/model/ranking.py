"""Filtered ranking by counting: one matrix product a block, no sort, no mask of queries by entities.

Maxima of strips of a block say where it must be looked at at all (`strips`). Its float32 scores settle every candidate
that is further from the answer than the rounding error; the few nearer ones are scored again without rounding
(`exact_scores`). So ranks, scores and top lists depend on the vectors alone: block sizes, threads and devices do not
change a bit, and equal vectors tie exactly. (The released code sorts all entities unstably, so a constant model ranks
well by luck: method.md, C24. It also lets known answers compete at a score of -1: C25; here they are out.)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pmd_ray.model.block_pairs import BlockPairs, Rows
from pmd_ray.model.exact_scores import ExactScores, full_float32
from pmd_ray.model.products import ROWS
from pmd_ray.model.strips import STRIP, Strips
from pmd_ray.model.top_list import TopLists
from pmd_ray.spec.chunks import RANKED
from pmd_ray.spec.ragged import Ragged, weave

# Shapes: Q queries, P different ones among them, E entities, D width, b and c rows of a block of queries and entities,
# p different queries of a block, W columns of whole strips, T top, N pairs of a query and an entity.
Ties = Literal["mean", "sorted"]
DENSE_SHARE = 1 / 32
"""Above this share of undecided candidates a block is scored again as a whole (a constant model: all of them)."""


@dataclass(frozen=True)
class Ranks:
    """What a ranking leaves of each query."""

    ranks: NDArray[np.float64]
    """[Q] from 1; halves come from ties."""
    scores: NDArray[np.float32]
    """[Q] of the answer, bonus included."""
    top_ids: NDArray[np.int32]
    """[Q, T] the best candidates, equal scores by entity number; -1 where there are fewer. Other known answers are
    out."""
    top_scores: NDArray[np.float32]
    """[Q, T] their scores; NaN where there is none."""


@torch.no_grad()
def rank_queries(
    queries_PD: Tensor,
    entities_ED: Tensor,
    answers_Q: NDArray[np.integer],
    known: Rows,
    *,
    asked_Q: NDArray[np.integer] | None = None,
    ties: Ties = "mean",
    top: int = 10,
    chunk_queries: int | None = None,
    chunk_entities: int | None = None,
    bonus: Rows | None = None,
    bonus_weight: float = 0.0,
) -> Ranks:
    """Rank each query's answer among all entities that are not known answers of it.

    Args:
        queries_PD: [P, D] vectors; computed as float32, whatever the matmul precision or autocast around.
        entities_ED: [E, D] vectors on the same device.
        answers_Q: [Q] entity numbers.
        known: Known answers of each query (of all splits); the query's own answer may be among them.
        asked_Q: [Q] which of the P vectors each query has: one that many triples ask is multiplied once, unless
            rounding leaves too much open. By default P = Q, each its own.
        ties: 'mean' gives 1 + greater + equal / 2; 'sorted' the place in a stable sort of the entities by score.
        top: T, at least 1.
        chunk_queries: Queries of a block; beside the vectors, memory is some 7 bytes for each score of a block
            (30 where it is scored without rounding).
        chunk_entities: Entities of a block; both by default as suits the device.
        bonus: For each query the entities whose score gains `bonus_weight` (SimKGC's re-ranking).

    Raises:
        ValueError: Shapes do not fit, an entity number is out of range, or a vector is not finite.
    """
    answers = np.asarray(answers_Q, dtype=np.int64)
    asked = np.arange(len(queries_PD)) if asked_Q is None else np.asarray(asked_Q, dtype=np.int64)
    queries, entities, device = len(asked), len(entities_ED), entities_ED.device
    usual = RANKED.get(device.type, RANKED["cuda"])
    chunk_queries, chunk_entities = chunk_queries or usual[0], chunk_entities or usual[1]
    _check(queries, entities, answers, known=known, bonus=bonus)
    if queries and not 0 <= asked.min() <= asked.max() < len(queries_PD):
        raise ValueError(f"asked must hold numbers of queries' vectors from 0 to {len(queries_PD) - 1}")
    order = np.argsort(asked, kind="stable")  # equal queries side by side
    placed = [np.empty(0, dtype=np.int64)]
    found = [Ranks(np.empty(0), np.empty(0, np.float32), np.empty((0, top), np.int32), np.empty((0, top), np.float32))]
    with full_float32(device):
        scores = ExactScores(queries_PD, entities_ED)
        scratch = _Scratch(min(chunk_queries, queries) + ROWS, min(chunk_entities, entities), device)

        def block(rows: NDArray[np.int64]) -> _Block:
            placed.append(rows)
            own = Ragged(answers[rows], np.arange(len(rows) + 1, dtype=np.int64))
            pairs = functools.partial(BlockPairs, entities=entities, chunk=chunk_entities, device=device)
            lifted = pairs(bonus.take(rows)) if bonus is not None and bonus_weight else None
            hidden = pairs(weave([known.take(rows), own]))
            return _Block(
                scores, asked[rows], answers[rows], hidden=hidden, lifted=lifted, weight=bonus_weight, top=top
            )

        for start in range(0, queries, chunk_queries):
            firsts, again, first_of = _asked_again(order[start : start + chunk_queries], asked)
            first_of_them = torch.as_tensor(first_of, device=device)
            blocks = [block(rows) for rows in (firsts, again) if len(rows)]
            queries_pD = scores.queries(torch.as_tensor(asked[firsts], device=device))
            for first in range(0, entities, chunk_entities):
                columns = slice(first, min(first + chunk_entities, entities))
                rough_pW = scores.rough(queries_pD, columns, scratch.scores(len(queries_pD), columns.stop - first))
                rough = [rough_pW[: len(firsts)]]
                if len(again):  # a copy, before the block changes it
                    rough.append(rough_pW.index_select(0, first_of_them))
                for own_block, rough_bW in zip(blocks, rough, strict=True):
                    own_block.meet(columns, rough_bW)
                del rough_pW, rough, rough_bW  # else the next block would be made beside this one
            found += [own_block.result(ties) for own_block in blocks]
    back = np.argsort(np.concatenate(placed))
    return Ranks(*(np.concatenate([getattr(ranks, field.name) for ranks in found])[back] for field in fields(Ranks)))


def _check(queries: int, entities: int, answers: NDArray[np.int64], *, known: Rows, bonus: Rows | None) -> None:
    lengths = {"answers": len(answers), "known": len(known)} | ({} if bonus is None else {"bonus": len(bonus)})
    wrong = {name: length for name, length in lengths.items() if length != queries}
    if wrong:
        raise ValueError(f"{queries} queries need as many answers and rows of known and bonus, got {wrong}")
    if queries and not 0 <= answers.min() <= answers.max() < entities:
        raise ValueError(f"answers must be entity numbers from 0 to {entities - 1}")


def _asked_again(
    rows: NDArray[np.int64], asked: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """One row of each different query, the rows that ask one of these again, and which [again] of the first that is."""
    _, first, place = np.unique(asked[rows], return_index=True, return_inverse=True)
    again = np.delete(np.arange(len(rows)), first)
    return rows[first], rows[again], place.reshape(-1)[again]


class _Scratch:
    """Memory for one block's scores, used again and again: fresh pages would cost as much.

    oneDNN writes to memory of its own, and this is never touched.
    """

    def __init__(self, rows: int, columns: int, device: torch.device) -> None:
        self._floats = torch.empty(rows * _padded(columns), dtype=torch.float32, device=device)

    def scores(self, rows: int, columns: int) -> Tensor:
        """[rows, columns], padded to whole strips."""
        width = _padded(columns)
        return self._floats[: rows * width].view(rows, width)


def _padded(columns: int) -> int:
    return columns + -columns % STRIP


class _Block:
    """Some queries, and what is known of their answers' ranks after the entities met."""

    def __init__(
        self,
        scores: ExactScores,
        asked: NDArray[np.int64],
        answers: NDArray[np.int64],
        *,
        hidden: BlockPairs,
        lifted: BlockPairs | None,
        weight: float,
        top: int,
    ) -> None:
        self._scores, self._count = scores, len(answers)
        self._hidden, self._lifted, self._weight = hidden, lifted, weight
        device = scores.device
        self._asked_b = torch.as_tensor(asked, device=device)
        self._answers_b = torch.as_tensor(answers, device=device)
        rows_b = torch.arange(self._count, device=device)
        self._own_b = self._exact_pairs(rows_b, self._answers_b)
        self._error = scores.error(weight)
        self._low_b, self._high_b = (self._own_b - self._error).float(), (self._own_b + self._error).float()
        self._greater_b, self._equal_b, self._earlier_b = torch.zeros(3, self._count, dtype=torch.int64, device=device)
        self._top = TopLists(self._count, top, error=self._error, device=device)
        self._top.offer(rows_b, self._answers_b, self._own_b)

    def meet(self, columns: slice, rough_bW: Tensor) -> None:
        """Count the candidates of one chunk of entities; its rough scores are changed."""
        strips = Strips(self._adjust(rough_bW, columns))
        enough = DENSE_SHARE * self._count * (columns.stop - columns.start)
        above_b, open_rows_N, open_columns_N = strips.compared(self._low_b, self._high_b)
        if len(open_rows_N) > enough:
            return self._meet_exactly(columns)
        rows_N, columns_N, rough_N = self._top.candidates(strips)
        if len(rows_N) > enough:
            return self._meet_exactly(columns)
        self._top.offer(rows_N, columns_N + columns.start, rough_N)
        self._greater_b += above_b
        self._settle(open_rows_N, open_columns_N, columns.start)
        return None

    def result(self, ties: Ties) -> Ranks:
        """What the ranking of these queries leaves, once all entities are met."""
        behind_b = self._equal_b / 2 if ties == "mean" else self._earlier_b
        best_bT, ids_bT = self._top.best(self._exact_pairs)
        top_bT = best_bT.float()
        top_bT[ids_bT < 0] = torch.nan
        return Ranks(
            (1 + self._greater_b + behind_b).double().cpu().numpy(),
            self._own_b.float().cpu().numpy(),
            ids_bT.int().cpu().numpy(),
            top_bT.cpu().numpy(),
        )

    def _settle(self, rows_N: Tensor, columns_N: Tensor, first: int) -> None:
        """Count candidates that rough scores do not tell from the answer."""
        entities_N = columns_N + first
        gap_N = self._exact_pairs(rows_N, entities_N) - self._own_b[rows_N]
        equal_N = gap_N == 0
        self._greater_b.index_add_(0, rows_N, (gap_N > 0).long())
        self._equal_b.index_add_(0, rows_N, equal_N.long())
        self._earlier_b.index_add_(0, rows_N, (equal_N & (entities_N < self._answers_b[rows_N])).long())

    def _meet_exactly(self, columns: slice) -> None:
        """The same from float64 scores of the whole block."""
        scores_bc = self._adjust(self._scores.exact(self._asked_b, columns), columns)
        equal_bc = scores_bc == self._own_b[:, None]
        self._greater_b += (scores_bc > self._own_b[:, None]).sum(1)
        self._equal_b += equal_bc.sum(1)
        entities_c = torch.arange(columns.start, columns.stop, device=scores_bc.device)
        self._earlier_b += (equal_bc & (entities_c < self._answers_b[:, None])).sum(1)
        rows_N, columns_N = _first_of_best(scores_bc, self._top.length)
        self._top.offer(rows_N, columns_N + columns.start, scores_bc[rows_N, columns_N])

    def _adjust(self, scores_bc: Tensor, columns: slice) -> Tensor:
        """Add the bonus; take out the answer and the other known ones."""
        flat, width = scores_bc.view(-1), scores_bc.shape[1]
        if self._lifted is not None:
            flat[self._lifted.places(columns, width)] += self._weight
        flat[self._hidden.places(columns, width)] = -torch.inf
        return scores_bc

    def _exact_pairs(self, rows_N: Tensor, entities_N: Tensor) -> Tensor:
        scores_N = self._scores.exact_pairs(self._asked_b[rows_N], entities_N)
        if self._lifted is not None:
            scores_N[self._lifted.hold(rows_N, entities_N)] += self._weight
        return scores_N


def _first_of_best(scores_bc: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """[N] rows and columns of the best T of exact scores, of equal ones the first."""
    floor_b1 = scores_bc.topk(min(top, scores_bc.shape[1]), dim=1).values[:, -1:]
    level_bc = scores_bc == floor_b1
    level_bc &= level_bc.cumsum(1, dtype=torch.int32) <= top
    level_bc |= scores_bc > floor_b1
    rows, columns = (level_bc & (scores_bc > -torch.inf)).nonzero(as_tuple=True)
    return rows, columns
