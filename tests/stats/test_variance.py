"""Mean squares, variance components, and the plain bootstrap that the closed form stands for."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pmd_ray.stats.bootstrap import pigeonhole, resampled
from pmd_ray.stats.variance import crossed, variance_components


def table(seeds: int, triples: int, sds: tuple[float, float, float], seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    a, b = random.standard_normal((seeds, 1)), random.standard_normal((1, triples))
    return sds[0] * a + sds[1] * b + sds[2] * random.standard_normal((seeds, triples))


def test_components_of_a_table_without_rest_are_the_margins() -> None:
    a, b = np.array([0.1, -0.2, 0.4]), np.array([1.0, 3.0, -2.0, 0.5])
    found = variance_components(7 + a[:, None] + b[None])
    assert found == pytest.approx((a.std(ddof=1), b.std(ddof=1), 0.0), abs=1e-12)


def test_components_are_found_again() -> None:
    found = np.mean([variance_components(table(40, 300, (0.3, 0.7, 0.5), seed)) for seed in range(5)], axis=0)
    assert found == pytest.approx((0.3, 0.7, 0.5), rel=0.1)


def test_components_below_zero_count_as_zero() -> None:
    assert variance_components([[1.0, -1.0], [-1.0, 1.0]]) == (0.0, 0.0, 2.0)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_components_need_two_of_each(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="2 seeds and 2 triples"):
        variance_components(np.ones(shape))


def test_mean_squares_expect_the_variance_of_the_mean() -> None:
    sds, seeds, triples = (0.2, 0.6, 1.0), 4, 30
    found = crossed(np.stack([table(seeds, triples, sds, seed) for seed in range(4000)]))
    true = sds[0] ** 2 / seeds + sds[1] ** 2 / triples + sds[2] ** 2 / (seeds * triples)
    assert found.mean.var() == pytest.approx(true, rel=0.1)
    assert found.total.mean() == pytest.approx(true, rel=0.03)


def test_many_tables_at_once_are_the_tables_one_by_one() -> None:
    tables = np.stack([table(3, 8, (1, 1, 1), seed) for seed in range(4)])
    together = crossed(tables)
    for place, one in enumerate(tables):
        alone = crossed(one)
        for name in ("mean", "seed", "triple", "rest", "total"):
            assert getattr(together, name)[place] == pytest.approx(float(getattr(alone, name)), rel=1e-12)


def test_closed_form_is_the_variance_over_all_resamples() -> None:
    """Every resample of 3 seeds and 3 triples (27 x 27): the pigeonhole bootstrap without Monte Carlo error."""
    values, draws = table(3, 3, (1, 2, 1)), list(product(range(3), repeat=3))
    means = np.array([[values[np.ix_(seeds, triples)].mean() for triples in draws] for seeds in draws])
    found = crossed(values)
    assert means.var() == pytest.approx(float(found.seed * 2 / 3 + found.triple * 2 / 3 + found.rest * 4 / 9))
    over_seeds = [values[list(seeds)].mean() for seeds in draws]
    assert np.var(over_seeds) * 3 / 2 == pytest.approx(float(found.seed))


@pytest.mark.parametrize("shape", [(2, 30), (5, 12), (1, 20), (6, 1), (1, 1)])
def test_closed_form_is_the_limit_of_draws(shape: tuple[int, int]) -> None:
    values = table(*shape, (0.5, 1, 1))
    fast, plain = crossed(values), resampled(values, draws=20_000, seed=1)
    for name in ("mean", "seed", "triple", "rest"):
        assert float(getattr(plain, name)) == pytest.approx(float(getattr(fast, name)), rel=0.06, abs=1e-15)


def test_draws_resample_both_margins() -> None:
    values = table(4, 25, (1, 1, 1))
    drawn = pigeonhole(values, draws=20_000)
    found = crossed(values)
    assert drawn.both.mean() == pytest.approx(values.mean(), abs=0.02)
    expected = found.seed * 3 / 4 + found.triple * 24 / 25 + found.rest * 3 / 4 * 24 / 25
    assert drawn.both.var() == pytest.approx(float(expected), rel=0.05)


def test_draws_are_repeatable_and_at_least_two() -> None:
    values = table(3, 9, (1, 1, 1))
    assert np.array_equal(pigeonhole(values, draws=50, seed=3).both, pigeonhole(values, draws=50, seed=3).both)
    assert not np.array_equal(pigeonhole(values, draws=50, seed=3).both, pigeonhole(values, draws=50, seed=4).both)
    with pytest.raises(ValueError, match="2 draws"):
        pigeonhole(values, draws=1)
