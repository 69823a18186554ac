"""Rows of unequal length in one flat array: token sequences without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Part(IntEnum):
    """Which part of a text a token belongs to."""

    SPECIAL = 0
    NAME = 1
    DESCRIPTION = 2
    NEIGHBOUR = 3
    RELATION = 4


@dataclass(frozen=True)
class Ragged:
    """`values[offsets[i]:offsets[i + 1]]` is row i."""

    values: NDArray[np.integer]
    offsets: Ints

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], dtype: type[np.integer] = np.int32) -> Ragged:
        """From a list of lists."""
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        values = np.fromiter((value for row in rows for value in row), dtype=dtype, count=int(lengths.sum()))
        return cls(values, offsets_of(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.integer]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Ints:
        """[N] values in each row."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.integer], at_most: Ints | None = None) -> Ragged:
        """The named rows, each cut to its length in `at_most`."""
        lengths = self.lengths[rows]
        if at_most is not None:
            lengths = np.minimum(lengths, at_most)
        return Ragged(self.values[spans(self.offsets[rows], lengths)], offsets_of(lengths))


def offsets_of(lengths: NDArray[np.integer]) -> Ints:
    """[N + 1] offsets of rows of the given lengths [N]."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def spans(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> Ints:
    """The positions starts[i], starts[i] + 1, ... (lengths[i] of them) of all rows, one after the other."""
    ends = np.cumsum(lengths)
    within = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
    places: Ints = within + np.repeat(np.asarray(starts, dtype=np.int64) - (ends - lengths), lengths)
    return places


def weave(parts: Sequence[Ragged]) -> Ragged:
    """Join equally many rows of several arrays side by side: row i is parts[0][i] + parts[1][i] + ..."""
    lengths = np.stack([part.lengths for part in parts])
    offsets = offsets_of(lengths.sum(axis=0))
    values = np.empty(int(offsets[-1]), dtype=np.result_type(*(part.values for part in parts)))
    starts = offsets[:-1].copy()
    for part, length in zip(parts, lengths, strict=True):
        values[spans(starts, length)] = part.values
        starts += length
    return Ragged(values, offsets)


@dataclass(frozen=True)
class TokenRows:
    """N token sequences: ids, which part of the text each token is (`Part`), and its segment (0 or 1)."""

    ids: Ragged
    parts: Ragged
    segments: Ragged

    def __len__(self) -> int:
        return len(self.ids)
