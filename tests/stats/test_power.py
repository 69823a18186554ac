"""The smallest difference is one that the real tests find as often as said; captions say what seeds can do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pmd_ray.stats
from pmd_ray.stats.caption import caption
from pmd_ray.stats.interval import squared_half_width
from pmd_ray.stats.power import fewest_seeds, smallest_difference, smallest_margin
from pmd_ray.stats.sign_flip import sign_flips
from pmd_ray.stats.variance import crossed
from pmd_ray.stats.words import Alternative

SDS = (0.05, 0.3, 0.4)


def tables(seeds: int, triples: int, mean: float, *, repeats: int = 1500) -> np.ndarray:
    random = np.random.default_rng(99)
    a, b = random.standard_normal((repeats, seeds, 1)), random.standard_normal((repeats, 1, triples))
    return mean + SDS[0] * a + SDS[1] * b + SDS[2] * random.standard_normal((repeats, seeds, triples))


@pytest.mark.parametrize(
    ("seeds", "alternative"),
    [(6, Alternative.TWO_SIDED), (8, Alternative.TWO_SIDED), (10, Alternative.TWO_SIDED), (5, Alternative.GREATER)],
)
def test_it_is_found_four_times_in_five(seeds: int, alternative: Alternative) -> None:
    answer = smallest_difference(seeds, 60, *SDS, alternative=alternative)
    assert answer.difference is not None
    values = tables(seeds, 60, answer.difference)
    found = crossed(values)
    outside = 0.05 if alternative is Alternative.TWO_SIDED else 0.1
    shown = (found.mean > np.sqrt(squared_half_width(found, outside))) & (
        sign_flips(values.mean(axis=2), alternative) <= 0.05
    )
    assert shown.mean() == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_the_margin_is_kept_four_times_in_five(seeds: int) -> None:
    margin = smallest_margin(seeds, 60, *SDS).difference
    assert margin is not None
    found = crossed(tables(seeds, 60, 0.0))
    kept = found.mean - np.sqrt(squared_half_width(found, 0.05)) > -margin
    assert kept.mean() == pytest.approx(0.8, abs=0.05)


def test_where_the_exact_test_cannot_reach_the_level() -> None:
    found = smallest_difference(5, 3134)
    assert (found.difference, found.smallest_p) == (None, 0.0625)
    assert "cannot go below p = 0.0625" in found.reason
    assert "take 6 seeds, or 5 with a side named beforehand" in found.reason
    assert found.by_interval == smallest_margin(5, 3134).difference
    assert smallest_difference(5, 3134, alternative=Alternative.GREATER).difference is not None
    assert smallest_difference(6, 3134).difference is not None
    assert smallest_difference(6, 3134, comparisons=2).difference is None


@pytest.mark.parametrize(("seeds", "triples", "told"), [(1, 100, "1 seed, no test"), (5, 1, "1 triple, no test")])
def test_one_of_them_has_no_test(seeds: int, triples: int, told: str) -> None:
    for found in (smallest_difference(seeds, triples), smallest_margin(seeds, triples)):
        assert found.difference is None
        assert told in found.reason


def test_more_seeds_triples_and_power_go_the_right_way() -> None:
    def difference(seeds: int = 8, triples: int = 500, **changed: float) -> float:
        found = smallest_difference(seeds, triples, **changed).difference  # type: ignore[arg-type]
        assert found is not None
        return found

    usual = difference()
    assert difference(seeds=10) < usual < difference(seeds=6)
    assert difference(triples=5000) < usual < difference(triples=100)
    assert difference(power=0.5) < usual < difference(power=0.95)
    assert usual < difference(comparisons=5)
    assert difference(sd_seed=0.0) < usual < difference(sd_seed=0.05)
    assert smallest_difference(8, 500, alternative=Alternative.LESS) == smallest_difference(
        8, 500, alternative=Alternative.GREATER
    )


def test_it_scales_with_the_spread() -> None:
    once, twice = (
        smallest_difference(8, 50, *SDS).difference,
        smallest_difference(8, 50, *(2 * x for x in SDS)).difference,
    )
    assert once is not None
    assert twice == pytest.approx(2 * once)
    assert smallest_difference(8, 50, 0.0, 0.0, 0.0).difference == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("level", "alternative", "comparisons", "seeds"),
    [
        (0.95, Alternative.TWO_SIDED, 1, 6),
        (0.95, Alternative.GREATER, 1, 5),
        (0.95, Alternative.TWO_SIDED, 10, 9),
        (0.5, Alternative.GREATER, 1, 1),
    ],
)
def test_fewest_seeds(level: float, alternative: Alternative, comparisons: int, seeds: int) -> None:
    assert fewest_seeds(level, alternative, comparisons) == seeds


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": 0},
        {"triples": 0},
        {"sd_rest": -0.1},
        {"sd_seed": float("nan")},
        {"level": 95.0},
        {"power": 1.0},
        {"comparisons": 0},
    ],
)
def test_what_it_refuses(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|0 or more|between 0 and 1"):
        smallest_difference(**{"seeds": 3, "triples": 5, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seeds", "said", "unsaid"),
    [
        (1, "1 seed, no test", "sign-flip"),
        (
            2,
            "p is the larger of an exact sign-flip test over seeds and the interval's; with 2 seeds it cannot",
            "1 seed,",
        ),
        (2, "up to 12.7 standard errors", "named beforehand"),
        (3, "below 0.25 two-sided or 0.125 one-sided. So no difference can be shown at 0.05", "12.7"),
        (5, "below 0.0625 two-sided or 0.0312 one-sided. So at 0.05 only a side", "So no difference"),
        (10, "below 0.00195 two-sided", "named beforehand"),
    ],
)
def test_captions(seeds: int, said: str, unsaid: str) -> None:
    assert said in caption(seeds)
    assert unsaid not in caption(seeds)


def test_a_caption_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="needs a seed"):
        caption(0)


def test_the_room_loads_neither_scipy_nor_pandas() -> None:
    modules = [f"pmd_ray.stats.{path.stem}" for path in Path(pmd_ray.stats.__file__).parent.glob("[a-z]*.py")]
    code = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
        "from pmd_ray.stats.power import smallest_difference\nfrom pmd_ray.stats.compare import compare\n"
        "smallest_difference(6, 100); compare([[0.1, 0.2], [0.3, 0.5]], [[0.0, 0.1], [0.1, 0.1]])\n"
        "print(sorted({'scipy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
