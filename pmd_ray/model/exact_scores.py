"""Inner products in float32 with a bound on their error, and exactly where the bound does not decide.

A float32 product differs in its last bits with the shape of the block, the number of threads and the machine, so that
equal vectors get unequal scores. Rounded to a grid of 2^-26 (unit vectors), every product of two coordinates is a
multiple of 2^-52 and every partial sum lies below 2 (Cauchy-Schwarz): float64 holds them all without rounding. So the
order of the sum cannot matter, and equal vectors score equally, to the last bit, everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import pad

from pmd_ray.model.products import inner_products, whole_rows

# Shapes: Q queries, E entities, D width, b and c rows of a block of them, p >= b, W >= c, N pairs.
GRID_BITS = 26
_UNIT = 2.0**-24
"""Unit roundoff of float32."""
_PAIRS_AT_ONCE = 1 << 10
"""Few enough that their vectors stay in a cache."""
_LONGEST = 1e15
"""Longest vector allowed: products stay far from float32's overflow."""


class ExactScores:
    """Scores q·e of queries [Q, D] and entities [E, D], of any finite length (unit vectors in this project)."""

    def __init__(self, queries_QD: Tensor, entities_ED: Tensor) -> None:
        if queries_QD.ndim != 2 or entities_ED.ndim != 2 or queries_QD.shape[1] != entities_ED.shape[1]:
            shapes = f"{list(queries_QD.shape)} and {list(entities_ED.shape)}"
            raise ValueError(f"queries and entities must be [Q, D] and [E, D] of equal D, got {shapes}")
        self._queries, self._entities = queries_QD.float(), entities_ED.float()
        self.device = entities_ED.device
        longest = _longest(self._queries, "queries"), _longest(self._entities, "entities")
        self._grids = _grid(longest[0]), _grid(longest[1])
        self.longest = longest[0] * longest[1]
        """No score is larger."""

    def error(self, bonus: float = 0.0) -> float:
        """No rough score (plus a bonus of that size) is further from the exact one; any order of the sum.

        Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5; the 16 covers the grid, the
        bonus and the rounding of whatever it is compared with.
        """
        width = self._queries.shape[1]
        return (width + 16) * _UNIT * (self.longest + abs(bonus)) * (1 + width * _UNIT) + 2.0**-120

    def queries(self, rows_b: Tensor) -> Tensor:
        """[p, D] float32, for `rough`: b rows, and zeros behind them where a product wants more."""
        found_bD = self._queries[rows_b]
        return pad(found_bD, (0, 0, 0, whole_rows(found_bD) - len(found_bD)))

    def rough(self, queries_pD: Tensor, columns: slice, room_pW: Tensor) -> Tensor:
        """[p, W] float32, -inf behind the columns' scores; in `room_pW` or in other memory."""
        entities_WD = self._entities[columns]
        count, more = len(entities_WD), room_pW.shape[1] - len(entities_WD)
        if more:
            entities_WD = pad(entities_WD, (0, 0, 0, more))
        found_pW = inner_products(queries_pD, entities_WD, room_TO=room_pW)
        found_pW[:, count:] = -torch.inf
        return found_pW

    def exact(self, rows_b: Tensor, columns: slice) -> Tensor:
        """[b, c] float64, without rounding."""
        steps_bc = _steps(self._queries[rows_b], self._grids[0]) @ _steps(self._entities[columns], self._grids[1]).T
        return steps_bc.mul_(self._grids[0] * self._grids[1])

    def exact_pairs(self, rows_N: Tensor, columns_N: Tensor) -> Tensor:
        """[N] float64, without rounding: the same numbers as in `exact`."""
        found = [rows_N.new_empty(0, dtype=torch.float64)]
        for rows, columns in zip(
            torch.split(rows_N, _PAIRS_AT_ONCE), torch.split(columns_N, _PAIRS_AT_ONCE), strict=True
        ):
            product_ND = _steps(self._queries.index_select(0, rows), self._grids[0])
            found.append(product_ND.mul_(_steps(self._entities.index_select(0, columns), self._grids[1])).sum(1))
        return torch.cat(found).mul_(self._grids[0] * self._grids[1])


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Products in true float32: neither autocast nor TF32 nor bfloat16 passes, which `ExactScores.error` ignores."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _longest(vectors_ND: Tensor, what: str) -> float:
    """Length of the longest vector; ValueError where one is not finite: NaN compares as false and would rank first."""
    parts = [torch.linalg.vector_norm(part, dim=1).amax() for part in torch.split(vectors_ND, 1 << 16) if len(part)]
    longest = float(torch.stack(parts).amax()) if parts else 0.0
    if not longest <= _LONGEST:
        raise ValueError(f"the vectors of the {what} hold NaN, infinity or lengths above {_LONGEST:g}")
    return longest


def _grid(longest: float) -> float:
    """The step of the grid for vectors up to that length: 2^-26 for unit vectors, rounding errors in them included."""
    return 2.0 ** ((math.ceil(math.log2(longest / 1.4)) if longest else 0) - GRID_BITS)


def _steps(vectors_ND: Tensor, grid: float) -> Tensor:
    """float64 whole numbers: the coordinates in steps of the grid."""
    return vectors_ND.double().mul_(1.0 / grid).round_()
