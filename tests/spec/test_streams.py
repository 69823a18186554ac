"""Random streams: uniform, independent of order and of each other, the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.spec.streams import generator, mix, row_keys, stream_key, uniforms

SEED = 20260
CRITICAL = 1.9
"""Chi-square with 63 degrees of freedom stays below 1.9 * 63 but for one case in 30,000."""


def chi_square(counts: np.ndarray) -> float:
    """Pearson's statistic against equal counts, over its degrees of freedom."""
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum() / (counts.size - 1))


def draws(key: int, rows: int, columns: int) -> np.ndarray:
    return uniforms(row_keys(key, np.arange(rows))[:, None], np.arange(columns)[None, :])


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (2_000, 50)])
def test_draws_are_uniform(shape: tuple[int, int]) -> None:
    found = draws(stream_key(SEED, "mask"), *shape)
    assert found.min() >= 0.0
    assert found.max() < 1.0
    assert chi_square(np.bincount((found * 64).astype(int).ravel(), minlength=64)) < CRITICAL
    low_bits = (found * 2**53).astype(np.uint64) % np.uint64(64)
    assert chi_square(np.bincount(low_bits.astype(int).ravel(), minlength=64)) < CRITICAL


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_draws_are_independent(axis: int) -> None:
    found = (draws(stream_key(SEED, "mask"), 400, 400) * 8).astype(int)
    one, other = np.delete(found, -1, axis), np.delete(found, 0, axis)
    assert chi_square(np.bincount((8 * one + other).ravel(), minlength=64)) < CRITICAL


def test_streams_of_neighbouring_seeds_are_independent() -> None:
    one, other = ((draws(stream_key(seed, "mask"), 1, 100_000) * 8).astype(int).ravel() for seed in (1, 2))
    assert chi_square(np.bincount(8 * one + other, minlength=64)) < CRITICAL


@given(st.integers(0, 2**63), st.lists(st.integers(0, 2**62), min_size=1, max_size=30), st.randoms())
def test_order_and_company_do_not_matter(key: int, counters: list[int], random) -> None:
    whole = uniforms(row_keys(key, np.array(counters)), np.array(counters))
    order = random.sample(range(len(counters)), len(counters))
    moved = np.array(counters)[order]
    assert (uniforms(row_keys(key, moved), moved) == whole[order]).all()
    alone = [uniforms(row_keys(key, np.array([counter])), np.array([counter]))[0] for counter in counters]
    assert alone == whole.tolist()


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=50))
def test_mix_is_a_bijection_on_what_it_sees(values: list[int]) -> None:
    assert len(np.unique(mix(np.array(values, dtype=np.uint64)))) == len(values)


def test_mix_is_splitmix64() -> None:
    """First numbers of the published generator, started at 0: the mix of 0, 1, 2 golden steps."""
    golden = 0x9E3779B97F4A7C15
    steps = np.array([number * golden % 2**64 for number in range(3)], dtype=np.uint64)
    assert [hex(value) for value in mix(steps).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_names_make_streams() -> None:
    keys = [stream_key(*names) for names in [(0,), (1,), (0, "a"), (0, "a", 1), (0, "a1"), (0, "a", "1", "")]]
    assert len(set(keys)) == len(keys)
    assert stream_key(0, "a", 1) == stream_key(0, "a", "1")
    assert stream_key(7, "shuffle", 3) == 0xE22164CCECBE4299  # the same on every machine and in every version
    one, other = generator(7, "shuffle", 3), generator(7, "shuffle", 3)
    assert one.random(5).tolist() == other.random(5).tolist()
    assert generator(7, "shuffle", 4).random() != generator(7, "shuffle", 3).random()
