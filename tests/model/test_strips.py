"""Strips of scores: what their maxima leave out, nobody misses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.model import strips as module
from pmd_ray.model.strips import STRIP, Strips


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 6),
    strips=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    lowered=st.integers(0, 6),
    read_whole=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_counts_and_places_are_those_of_a_plain_comparison(rows, strips, seed, lowered, read_whole) -> None:
    rng = np.random.default_rng(seed)
    scores = torch.as_tensor(rng.integers(-4, 5, (rows, strips * STRIP)) / 4, dtype=torch.float32)
    scores[torch.as_tensor(rng.random(scores.shape) < 0.3)] = -torch.inf
    high = torch.as_tensor(rng.integers(-5, 6, rows) / 4, dtype=torch.float32)
    low = high - lowered / 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "READ_WHOLE", read_whole)
        above, found_rows, found_columns = Strips(scores).compared(low, high)
    assert above.tolist() == [int((row >= top).sum()) for row, top in zip(scores, high, strict=True)]
    between = [
        (row, column)
        for row in range(rows)
        for column in range(scores.shape[1])
        if low[row] <= scores[row, column] < high[row]
    ]
    assert list(zip(found_rows.tolist(), found_columns.tolist(), strict=True)) == between
    reached_rows, reached_columns, values = Strips(scores).reaching(low)
    assert sorted(zip(reached_rows.tolist(), reached_columns.tolist(), strict=True)) == sorted(
        (row, column) for row in range(rows) for column in range(scores.shape[1]) if scores[row, column] >= low[row]
    )
    assert torch.equal(values, scores[reached_rows, reached_columns])
