"""Ragged rows do what lists of lists do."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.spec.ragged import Part, Ragged, TokenRows, offsets_of, spans, weave

ROWS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6), max_size=8)


def lists_of(rows: Ragged) -> list[list[int]]:
    return [rows[row].tolist() for row in range(len(rows))]


@given(ROWS)
def test_of_and_back(rows: list[list[int]]) -> None:
    ragged = Ragged.of(rows)
    assert lists_of(ragged) == rows
    assert len(ragged) == len(rows)
    assert ragged.values.dtype == np.int32
    assert ragged.lengths.tolist() == [len(row) for row in rows]


@given(st.data(), ROWS)
def test_take(data: st.DataObject, rows: list[list[int]]) -> None:
    some = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=12)) if rows else []
    numbers = np.array(some, dtype=np.int64)
    assert lists_of(Ragged.of(rows).take(numbers)) == [rows[row] for row in some]
    cuts = data.draw(st.lists(st.integers(0, 8), min_size=len(some), max_size=len(some)))
    cut = Ragged.of(rows).take(numbers, np.array(cuts, dtype=np.int64))
    assert lists_of(cut) == [rows[row][:at_most] for row, at_most in zip(some, cuts, strict=True)]


@given(st.integers(1, 4), st.integers(0, 5), st.data())
def test_weave(parts: int, count: int, data: st.DataObject) -> None:
    rows = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=count, max_size=count)
    columns = [data.draw(rows) for _ in range(parts)]
    woven = weave([Ragged.of(column) for column in columns])
    assert lists_of(woven) == [[value for column in columns for value in column[row]] for row in range(count)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=10))
def test_spans(pairs: list[tuple[int, int]]) -> None:
    starts, lengths = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    assert spans(starts, lengths).tolist() == [start + step for start, length in pairs for step in range(length)]
    assert offsets_of(lengths).tolist() == [sum(length for _, length in pairs[:end]) for end in range(len(pairs) + 1)]


def test_taking_does_not_change_the_source() -> None:
    ragged = Ragged.of([[1, 2], [3]])
    ragged.take(np.array([1, 0])).values[:] = 0
    weave([ragged]).values[:] = 0
    assert lists_of(ragged) == [[1, 2], [3]]


def test_token_rows_count_their_rows() -> None:
    ids = Ragged.of([[101, 5, 102], [101, 102]])
    parts = Ragged.of([[Part.SPECIAL, Part.NAME, Part.SPECIAL], [Part.SPECIAL, Part.SPECIAL]])
    assert len(TokenRows(ids, parts, Ragged.of([[0, 0, 0], [0, 0]]))) == 2
