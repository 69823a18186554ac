"""Permutation over triples against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pmd_ray.stats.permutation import triple_permutation
from pmd_ray.stats.words import Alternative


def table(seeds: int, triples: int) -> np.ndarray:
    return np.random.default_rng(triples).normal(0.1, 0.5, (seeds, triples))


def scipys(values: np.ndarray, alternative: Alternative) -> float:
    whole = stats.permutation_test(
        (values.mean(axis=0),), np.mean, permutation_type="samples", alternative=alternative.value, n_resamples=np.inf
    )
    return float(whole.pvalue)


@pytest.mark.parametrize("alternative", list(Alternative))
@pytest.mark.parametrize("triples", [2, 4, 10])
def test_few_triples_are_enumerated_as_scipy_does(alternative: Alternative, triples: int) -> None:
    values = table(3, triples)
    assert triple_permutation(values, alternative) == pytest.approx(scipys(values, alternative), abs=1e-12)


@pytest.mark.parametrize("alternative", list(Alternative))
def test_draws_come_near_the_enumeration(alternative: Alternative) -> None:
    values = table(2, 14)
    exact, draws = scipys(values, alternative), 8000
    drawn = triple_permutation(values, alternative, draws=draws)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / draws) + 1 / draws)


def test_triples_without_a_difference_change_nothing() -> None:
    values = table(3, 9)
    assert triple_permutation(np.pad(values, ((0, 0), (0, 500)))) == triple_permutation(values)


def test_no_difference_at_all() -> None:
    assert [triple_permutation(np.zeros((3, 40)), alternative) for alternative in Alternative] == [1.0, 1.0, 1.0]


def test_p_is_never_zero() -> None:
    assert triple_permutation(np.ones((2, 100)), draws=99) == pytest.approx(0.01)


def test_negation_swaps_the_sides_but_for_the_draws() -> None:
    values = table(3, 60)
    there = triple_permutation(values, Alternative.GREATER)
    back = triple_permutation(-values, Alternative.LESS)
    assert there == pytest.approx(back, abs=4 * np.sqrt(2 * there / 10_000))
    assert triple_permutation(values) == triple_permutation(-values)


def test_it_is_repeatable() -> None:
    values = table(3, 60) - 0.05
    assert triple_permutation(values, seed=1) == triple_permutation(values, seed=1)
    assert triple_permutation(values, seed=1) != triple_permutation(values, seed=2)


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="needs draws"):
        triple_permutation(np.ones((2, 3)), draws=0)
    with pytest.raises(ValueError, match="finite"):
        triple_permutation([[np.nan, 1.0]])
