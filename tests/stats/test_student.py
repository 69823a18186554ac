"""Student's tails and quantiles agree with scipy's."""

from __future__ import annotations

import pytest
from scipy import stats

from pmd_ray.stats.student import EXACT_UP_TO, upper_quantile, upper_tail


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 10, 99, 661])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.96, 4.3, 40.0])
def test_tail(df: int, t: float) -> None:
    assert upper_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 19, EXACT_UP_TO, EXACT_UP_TO + 1, 661, 20465])
@pytest.mark.parametrize("tail", [0.5, 0.3, 0.05, 0.025, 0.001, 1e-4])
def test_quantile(df: int, tail: float) -> None:
    assert upper_quantile(tail, df) == pytest.approx(stats.t.isf(tail, df), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("df", [1, 2, 9, 300])
def test_quantile_far_out(df: int) -> None:
    assert upper_quantile(5e-13, df) == pytest.approx(stats.t.isf(5e-13, df), rel=1e-3)


@pytest.mark.parametrize(("tail", "df"), [(0.0, 3), (0.6, 3), (-0.1, 3), (0.1, 0)])
def test_out_of_range(tail: float, df: int) -> None:
    with pytest.raises(ValueError, match="quantile needs"):
        upper_quantile(tail, df)
