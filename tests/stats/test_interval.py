"""Intervals: known special cases, invariances, and the p-value as the interval turned round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pmd_ray.stats.interval import SMALLEST_P, difference, interval, interval_p
from pmd_ray.stats.variance import crossed
from pmd_ray.stats.words import Alternative, Over

TABLES = st.tuples(st.integers(1, 6), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-8, 8).map(lambda whole: whole / 8))
)


def sample(seeds: int, triples: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 0.3 + 0.2 * random.standard_normal((seeds, 1)) + random.standard_normal((seeds, triples))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_without_triple_variance_it_is_the_t_interval_over_seeds(level: float) -> None:
    means = np.array([0.1, 0.5, 0.2, 0.4])
    found = interval(np.repeat(means[:, None], 50, axis=1), level=level)
    expected = stats.ttest_1samp(means, 0.0).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.sd_over_seeds == pytest.approx(means.std(ddof=1))
    assert found.over is Over.SEEDS_AND_TRIPLES


def test_with_one_seed_it_is_the_t_interval_over_triples_and_says_so() -> None:
    values = sample(1, 30)
    found = interval(values)
    expected = stats.ttest_1samp(values[0], 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (found.over, found.sd_over_seeds) == (Over.TRIPLES_ONLY, None)
    assert found.over == "triples only"


def test_with_one_triple_it_is_the_t_interval_over_seeds_and_says_so() -> None:
    values = sample(5, 1)
    found = interval(values)
    expected = stats.ttest_1samp(values[:, 0], 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.over is Over.SEEDS_ONLY


def test_one_value_bounds_nothing() -> None:
    found = interval([[0.4]])
    assert (found.mean, found.low, found.high, found.over) == (0.4, -np.inf, np.inf, Over.NOTHING)
    assert np.isnan(found.standard_error)


def test_identical_variants() -> None:
    values = sample(3, 20)
    found = difference(values, values)
    assert (found.mean, found.low, found.high, found.standard_error) == (0.0, 0.0, 0.0, 0.0)


@settings(max_examples=40)
@given(TABLES, st.randoms(use_true_random=False))
def test_order_does_not_matter(values: np.ndarray, random: np.random.RandomState) -> None:
    seeds, triples = list(range(values.shape[0])), list(range(values.shape[1]))
    random.shuffle(seeds)
    random.shuffle(triples)
    same(interval(values[seeds][:, triples]), interval(values))


@settings(max_examples=40)
@given(TABLES, st.sampled_from([0.25, 2.0, 100.0]), st.sampled_from([-1.0, 0.0, 3.0]))
def test_scale_and_shift_carry_over(values: np.ndarray, scale: float, shift: float) -> None:
    before, after = interval(values), interval(values * scale + shift)
    for name in ("mean", "low", "high"):
        assert getattr(after, name) == pytest.approx(getattr(before, name) * scale + shift, rel=1e-7, abs=1e-7)


@settings(max_examples=40)
@given(TABLES)
def test_swapping_the_variants_mirrors_the_interval(values: np.ndarray) -> None:
    other = np.roll(values, 1, axis=1) / 2
    there, back = difference(values, other), difference(other, values)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low), abs=1e-12)


@settings(max_examples=40)
@given(TABLES)
def test_never_narrower_than_over_one_margin_alone(values: np.ndarray) -> None:
    found = interval(values)
    for margin, other in ((values.mean(axis=1), values.shape[1]), (values.mean(axis=0), values.shape[0])):
        if len(margin) > 1 and other > 1:
            half = stats.t.ppf(0.975, len(margin) - 1) * margin.std(ddof=1) / np.sqrt(len(margin))
            assert found.high - found.mean >= half - 1e-7


@pytest.mark.parametrize("shape", [(2, 40), (3, 10), (10, 4), (1, 25)])
def test_draws_agree_with_the_closed_form(shape: tuple[int, int]) -> None:
    fast, plain = interval(sample(*shape)), interval(sample(*shape), draws=20_000)
    assert plain.mean == fast.mean
    assert plain.high - plain.mean == pytest.approx(fast.high - fast.mean, rel=0.04)


def test_p_over_seeds_is_the_t_test() -> None:
    means = np.array([0.1, 0.5, -0.2, 0.4, 0.3])
    found = crossed(np.repeat(means[:, None], 9, axis=1))
    for alternative in Alternative:
        expected = stats.ttest_1samp(means, 0.0, alternative=alternative.value).pvalue
        assert interval_p(found, alternative) == pytest.approx(1.0 if alternative == "less" else expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(2, 30), (3, 200), (6, 5), (1, 12)])
def test_the_interval_at_level_one_less_p_ends_at_zero(shape: tuple[int, int]) -> None:
    values = sample(*shape)
    p = interval_p(crossed(values), Alternative.TWO_SIDED)
    assert SMALLEST_P < p < 1
    ends = interval(values, level=1 - p)
    assert min(abs(ends.low), abs(ends.high)) == pytest.approx(0.0, abs=1e-6)


def test_p_of_nothing_and_of_certainty() -> None:
    nothing, sure = crossed(np.zeros((3, 4))), crossed(np.full((3, 4), 0.5))
    assert [interval_p(nothing, alternative) for alternative in Alternative] == [1.0, 1.0, 1.0]
    assert interval_p(sure, Alternative.TWO_SIDED) == pytest.approx(SMALLEST_P)
    assert interval_p(sure, Alternative.LESS) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 4 that are not"):
        interval([[0.1, bad], [0.2, 0.3]])


def test_shapes_and_levels_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        difference(np.zeros((2, 3)), np.zeros((2, 4)))
    for values in (np.zeros(3), np.zeros((0, 3)), np.zeros((2, 0)), np.zeros((1, 1, 1))):
        with pytest.raises(ValueError, match="seeds, triples"):
            interval(values)
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="level must be between 0 and 1"):
            interval(np.zeros((2, 3)), level=level)


def same(one: object, other: object) -> None:
    for name in ("mean", "low", "high"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-7, abs=1e-7)
