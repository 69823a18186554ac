"""Comparisons: the p of the table, verdicts that claim no more than their test, and Holm over a question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.stats.compare import Comparison, compare
from pmd_ray.stats.family import adjust
from pmd_ray.stats.interval import difference, interval_p
from pmd_ray.stats.mcnemar import mcnemar
from pmd_ray.stats.non_inferiority import non_inferiority
from pmd_ray.stats.permutation import triple_permutation
from pmd_ray.stats.sign_flip import sign_flip, smallest_sign_flip_p
from pmd_ray.stats.variance import crossed
from pmd_ray.stats.words import Alternative, Verdict


def pair(seeds: int, triples: int, gain: float, *, noise: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    b = random.random((1, triples)) + 0.1 * random.standard_normal((seeds, triples))
    return b + gain + noise * random.standard_normal((seeds, triples)), b


@pytest.mark.parametrize("alternative", list(Alternative))
def test_the_p_of_the_table_is_the_larger_of_two(alternative: Alternative) -> None:
    a, b = pair(7, 40, 0.02)
    found = compare(a, b, alternative=alternative)
    assert found.p_seeds == sign_flip((a - b).mean(axis=1), alternative)
    assert found.p_interval == interval_p(crossed(a - b), alternative)
    assert found.p == max(found.p_seeds, found.p_interval)
    assert found.p_triples == triple_permutation(a - b, alternative)
    assert found.smallest_p == smallest_sign_flip_p(7, alternative)
    assert found.difference == difference(a, b)


@pytest.mark.parametrize(
    ("seeds", "gain", "alternative", "verdict"),
    [
        (6, 0.1, Alternative.TWO_SIDED, Verdict.BETTER),
        (6, -0.1, Alternative.TWO_SIDED, Verdict.WORSE),
        (6, 0.1, Alternative.GREATER, Verdict.BETTER),
        (6, -0.1, Alternative.GREATER, Verdict.NO_DIFFERENCE_SHOWN),
        (6, -0.1, Alternative.LESS, Verdict.WORSE),
        (6, 0.0, Alternative.TWO_SIDED, Verdict.NO_DIFFERENCE_SHOWN),
        (5, 0.1, Alternative.GREATER, Verdict.BETTER),
        (5, 0.1, Alternative.TWO_SIDED, Verdict.TOO_FEW_SEEDS),
        (2, 5.0, Alternative.GREATER, Verdict.TOO_FEW_SEEDS),
        (1, 5.0, Alternative.TWO_SIDED, Verdict.ONE_SEED),
    ],
)
def test_verdicts(seeds: int, gain: float, alternative: Alternative, verdict: Verdict) -> None:
    assert compare(*pair(seeds, 100, gain), alternative=alternative).verdict is verdict


def test_one_seed_has_no_test() -> None:
    found = compare(*pair(1, 50, 1.0))
    assert (found.p, found.p_seeds, found.p_interval, found.smallest_p) == (None, None, None, None)
    assert found.p_triples is not None
    assert found.p_triples < 0.001
    assert found.verdict == "1 seed, no test"
    assert found.difference.over == "triples only"
    assert compare(*pair(1, 50, 1.0), margin=0.1).verdict is Verdict.ONE_SEED


def test_one_triple_has_no_test() -> None:
    found = compare(*pair(8, 1, 1.0))
    assert (found.p, found.p_triples, found.verdict) == (None, None, Verdict.ONE_TRIPLE)
    assert compare(*pair(8, 1, 1.0), margin=0.1).verdict is Verdict.ONE_TRIPLE


def test_identical_variants() -> None:
    a, _ = pair(6, 30, 0.0)
    found = compare(a, a)
    assert (found.p, found.p_seeds, found.p_interval, found.p_triples) == (1.0, 1.0, 1.0, 1.0)
    assert found.verdict is Verdict.NO_DIFFERENCE_SHOWN


def test_the_luck_of_the_triples_is_no_effect() -> None:
    """All seeds agree, because they share a few unlike triples: the sign-flip test alone would call this better."""
    triples = np.array([[0.9, -0.5, 0.4, -0.1, 0.3, -0.3]])
    found = compare(np.repeat(triples, 8, axis=0), np.zeros((8, 6)))
    assert found.p_seeds == 2 / 2**8
    assert found.p is not None
    assert found.p > 0.5
    assert found.verdict is Verdict.NO_DIFFERENCE_SHOWN


@settings(max_examples=15)
@given(st.integers(2, 7), st.integers(0, 1000), st.sampled_from([Alternative.GREATER, Alternative.TWO_SIDED]))
def test_swapping_the_variants_swaps_the_side(seeds: int, seed: int, alternative: Alternative) -> None:
    a, b = pair(seeds, 12, 0.05, seed=seed)
    back_side = Alternative.LESS if alternative is Alternative.GREATER else alternative
    there, back = (compare(x, y, alternative=side) for x, y, side in ((a, b, alternative), (b, a, back_side)))
    assert (there.p, there.p_seeds, there.p_triples) == pytest.approx((back.p, back.p_seeds, back.p_triples))
    mirrored = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    assert mirrored.get(there.verdict, there.verdict) is back.verdict


@settings(max_examples=15)
@given(st.integers(2, 6), st.integers(0, 1000), st.sampled_from([0.01, 0.03, 0.1]))
def test_a_margin_asks_the_lower_end_of_the_interval(seeds: int, seed: int, margin: float) -> None:
    a, b = pair(seeds, 40, -0.01, seed=seed)
    found, judged = compare(a, b, margin=margin), non_inferiority(difference(a, b), margin)
    assert found.verdict is judged.verdict
    assert (judged.bound, judged.level) == (found.difference.low, 0.975)
    assert found.alternative is Alternative.GREATER
    assert (found.smallest_p, found.p) == (None, min(1.0, 2 * (found.p_interval or 0.0)))


def test_both_verdicts_on_a_margin() -> None:
    assert compare(*pair(3, 200, -0.001, noise=0.02), margin=0.01).verdict is Verdict.NOT_INFERIOR
    assert compare(*pair(3, 200, -0.02, noise=0.02), margin=0.01).verdict is Verdict.NOT_SHOWN_NOT_INFERIOR


def test_no_claim_beyond_the_level() -> None:
    found = compare(*pair(6, 100, 0.1), level=0.99)
    assert (found.smallest_p, found.verdict) == (0.03125, Verdict.TOO_FEW_SEEDS)
    assert found.difference.level == 0.99


def test_holm_over_a_question_changes_verdicts() -> None:
    clear, none, one = compare(*pair(6, 100, 0.1)), compare(*pair(6, 100, 0.0)), compare(*pair(1, 100, 0.1))
    alone = adjust([clear, one])
    assert [c.p_adjusted for c in alone] == [clear.p, None]
    assert [c.verdict for c in alone] == [Verdict.BETTER, Verdict.ONE_SEED]
    together = adjust([none, clear, one])
    assert [c.family for c in together] == [2, 2, 2]
    assert together[1].p_adjusted == 0.0625
    assert [c.verdict for c in together] == [Verdict.TOO_FEW_SEEDS, Verdict.TOO_FEW_SEEDS, Verdict.ONE_SEED]


def test_holm_with_seeds_enough() -> None:
    found = adjust([compare(*pair(8, 100, gain, seed=3)) for gain in (0.1, 0.0, -0.1)])
    assert [c.verdict for c in found] == [Verdict.BETTER, Verdict.NO_DIFFERENCE_SHOWN, Verdict.WORSE]
    assert adjust([]) == []


def test_one_question_has_one_level() -> None:
    comparison = compare(*pair(3, 10, 0.0))
    other = replace(comparison, difference=replace(comparison.difference, level=0.9))
    with pytest.raises(ValueError, match="one level"):
        adjust([comparison, other])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"margin": 0.0}, "margin must be above 0"),
        ({"margin": float("nan")}, "margin must be above 0"),
        ({"margin": 0.1, "alternative": Alternative.LESS}, "swap a and b"),
        ({"level": 1.5}, "level must be between"),
    ],
)
def test_what_it_refuses(changed: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        compare(*pair(2, 5, 0.0), **changed)  # type: ignore[arg-type]


def test_unequal_shapes_and_nan_are_refused() -> None:
    a, b = pair(3, 5, 0.0)
    with pytest.raises(ValueError, match="same seeds and triples"):
        compare(a, b[:2])
    a[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        compare(a, b)


def test_a_word_is_its_text() -> None:
    found: Comparison = compare(*pair(6, 100, 0.1))
    assert f"{found.verdict}" == "better"
    assert mcnemar([1, 1], [1, 0]) == 1.0
