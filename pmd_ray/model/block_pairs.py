"""Pairs of queries and entities as positions in blocks of a score matrix: known answers, bonus candidates."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pmd_ray.spec.ragged import Ragged


class Rows(Protocol):
    """Entity numbers of each query: a `Ragged`, or anything that makes the asked rows when they are needed."""

    def __len__(self) -> int:
        """Queries."""
        ...

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """The entities of the named queries."""
        ...


class BlockPairs:
    """The pairs (row, entity) of some queries, grouped by chunks of entities; what stands there twice counts once."""

    def __init__(self, rows: Ragged, *, entities: int, chunk: int, device: torch.device) -> None:
        columns = torch.as_tensor(rows.values.astype(np.int64), device=device)
        if len(columns) and not 0 <= int(columns.min()) <= int(columns.max()) < entities:
            raise ValueError(f"known and bonus must hold entity numbers from 0 to {entities - 1}")
        numbers = torch.repeat_interleave(torch.as_tensor(rows.lengths, device=device))
        keys = numbers * entities + columns
        self._keys = keys if bool((keys[1:] > keys[:-1]).all()) else torch.unique(keys)
        self._entities, self._chunk = entities, chunk
        self._rows, self._columns = self._keys // entities, self._keys % entities
        chunks = self._columns // chunk
        if entities > chunk:
            order = torch.argsort(chunks, stable=True)
            self._rows, self._columns = self._rows[order], self._columns[order]
        counts = torch.bincount(chunks, minlength=-(-entities // chunk))
        self._bounds = [0, *counts.cumsum(0).tolist()]

    def places(self, columns: slice, width: int) -> Tensor:
        """[N] flat positions in the block [b, width] of one chunk of entities, which may be wider than the chunk."""
        first = columns.start // self._chunk
        part = slice(self._bounds[first], self._bounds[first + 1])
        flat: Tensor = self._rows[part] * width + (self._columns[part] - columns.start)
        return flat

    def hold(self, rows_N: Tensor, columns_N: Tensor) -> Tensor:
        """[N] whether each pair is one of these."""
        if not len(self._keys):
            return torch.zeros_like(rows_N, dtype=torch.bool)
        wanted = rows_N * self._entities + columns_N
        place = torch.searchsorted(self._keys, wanted).clamp_(max=len(self._keys) - 1)
        held: Tensor = self._keys[place] == wanted
        return held
