"""The exact sign-flip test against brute force and scipy."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pmd_ray.stats.sign_flip import sign_flip, sign_flips, smallest_sign_flip_p
from pmd_ray.stats.words import Alternative

WHOLE = st.lists(st.integers(-5, 5), min_size=1, max_size=8)
SIDES = st.sampled_from(list(Alternative))
MIRRORED = {
    Alternative.TWO_SIDED: Alternative.TWO_SIDED,
    Alternative.GREATER: Alternative.LESS,
    Alternative.LESS: Alternative.GREATER,
}


def brute_force(values: list[int], alternative: Alternative) -> Fraction:
    sums = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in product((1, -1), repeat=len(values))]
    seen = sum(values)
    hits = {
        Alternative.TWO_SIDED: [abs(x) >= abs(seen) for x in sums],
        Alternative.GREATER: [x >= seen for x in sums],
        Alternative.LESS: [x <= seen for x in sums],
    }[alternative]
    return Fraction(sum(hits), len(sums))


@settings(max_examples=40)
@given(WHOLE, SIDES, st.sampled_from([1.0, 0.1, 1 / 3, 1e-9]))
def test_it_is_the_share_of_all_sign_vectors(values: list[int], alternative: Alternative, scale: float) -> None:
    assert sign_flip(np.array(values) * scale, alternative) == float(brute_force(values, alternative))


@settings(max_examples=40)
@given(WHOLE, SIDES, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_negation_swaps_sides(
    values: list[int], alternative: Alternative, random: np.random.RandomState
) -> None:
    p = sign_flip(values, alternative)
    random.shuffle(values)
    assert sign_flip(values, alternative) == p
    assert sign_flip([-value for value in values], MIRRORED[alternative]) == p


@settings(max_examples=40)
@given(SIDES, st.integers(2, 8))
def test_it_agrees_with_scipy(alternative: Alternative, seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(0.3, 1, seeds)
    scipys = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", alternative=alternative.value, n_resamples=np.inf
    )
    assert sign_flip(values, alternative) == pytest.approx(scipys.pvalue, abs=1e-12)


@pytest.mark.parametrize("seeds", range(1, 11))
def test_the_floor_is_reached_and_never_passed(seeds: int) -> None:
    one_side = np.linspace(1, 2, seeds)
    for alternative in (Alternative.TWO_SIDED, Alternative.GREATER):
        assert sign_flip(one_side, alternative) == smallest_sign_flip_p(seeds, alternative)
    assert sign_flip(one_side, Alternative.LESS) == 1.0


def test_the_floor_of_five_seeds() -> None:
    assert smallest_sign_flip_p(5) == 0.0625
    assert smallest_sign_flip_p(5, Alternative.GREATER) == 0.03125
    assert smallest_sign_flip_p(1) == 1.0


def test_no_difference_at_all() -> None:
    assert [sign_flip(np.zeros(4), alternative) for alternative in Alternative] == [1.0, 1.0, 1.0]


def test_many_rows_are_the_rows_one_by_one() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (20, 5))
    for alternative in Alternative:
        assert sign_flips(rows, alternative).tolist() == [sign_flip(row, alternative) for row in rows]


@pytest.mark.parametrize(
    ("values", "told"), [(np.ones(21), "up to 20"), ([0.1, np.nan], "finite"), ([], "empty"), ([[1.0]], "seeds")]
)
def test_what_it_refuses(values: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sign_flip(values)  # type: ignore[arg-type]


def test_no_seed_has_no_floor() -> None:
    with pytest.raises(ValueError, match="needs a seed"):
        smallest_sign_flip_p(0)
