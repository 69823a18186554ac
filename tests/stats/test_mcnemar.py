"""McNemar's exact test against scipy's binomial test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pmd_ray.stats.mcnemar import mcnemar, mcnemar_over_seeds
from pmd_ray.stats.words import Alternative

COUNTS = st.integers(0, 60)


def hits(only_a: int, only_b: int, both: int = 3, neither: int = 2) -> tuple[np.ndarray, np.ndarray]:
    a = [1] * only_a + [0] * only_b + [1] * both + [0] * neither
    b = [0] * only_a + [1] * only_b + [1] * both + [0] * neither
    return np.array(a, dtype=bool), np.array(b, dtype=bool)


@settings(max_examples=40)
@given(COUNTS, COUNTS, st.sampled_from(list(Alternative)))
def test_it_is_the_binomial_test_of_the_discordant_queries(only_a: int, only_b: int, alternative: Alternative) -> None:
    n = only_a + only_b
    expected = stats.binomtest(only_a, n, 0.5, alternative=alternative.value).pvalue if n else 1.0
    assert mcnemar(*hits(only_a, only_b), alternative) == pytest.approx(expected, rel=1e-9)


def test_thousands_of_discordant_queries() -> None:
    assert mcnemar(*hits(1600, 1450)) == pytest.approx(stats.binomtest(1600, 3050, 0.5).pvalue, rel=1e-9)


@settings(max_examples=40)
@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=4))
def test_over_seeds_it_claims_for_every_seed(counts: list[tuple[int, int]]) -> None:
    width = max(a + b for a, b in counts)
    pairs = [hits(a, b, both=0, neither=width - a - b) for a, b in counts]
    a, b = np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    if width == 0:
        return
    greater, less = (max(mcnemar(x, y, side) for x, y in pairs) for side in (Alternative.GREATER, Alternative.LESS))
    assert mcnemar_over_seeds(a, b, Alternative.GREATER) == greater
    assert mcnemar_over_seeds(a, b, Alternative.LESS) == less
    assert mcnemar_over_seeds(a, b) == min(1.0, 2 * min(greater, less))
    assert mcnemar_over_seeds(b, a) == mcnemar_over_seeds(a, b)


def test_seeds_that_disagree_show_nothing() -> None:
    (a0, b0), (a1, b1) = hits(40, 5), hits(5, 40)
    assert mcnemar(a0, b0) < 1e-6
    assert mcnemar_over_seeds(np.stack([a0, a1]), np.stack([b0, b1])) == 1.0


def test_identical_hits() -> None:
    a, _ = hits(4, 2)
    assert [mcnemar(a, a, alternative) for alternative in Alternative] == [1.0, 1.0, 1.0]


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="0 or 1"):
        mcnemar([0.5, 1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="same queries"):
        mcnemar([1.0, 0.0, 1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="finite"):
        mcnemar([np.nan, 1.0], [1.0, 0.0])
