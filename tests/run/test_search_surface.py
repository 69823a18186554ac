"""The synthetic surface of `benchmarks/search_surface.py`: its truth, its reports, and a small run of it."""

from __future__ import annotations

import importlib.util
import json
import sys
from itertools import product
from math import exp
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "search_surface.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("search_surface", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(5))
def test_the_optimum_is_the_top_and_can_be_drawn(bench: ModuleType, seed: int) -> None:
    surface = bench.Surface(seed)
    low, high = bench.LOG_RATIOS
    best = {name: exp(low + surface.optimum[name] * (high - low)) for name in ("alpha", "beta")}
    depths = range(bench.DEPTHS[0], bench.DEPTHS[1] + 1)
    values = [
        surface.truth({**best, "rate": rate, "ratio": ratio, "depth": depth})
        for rate, ratio, depth in product(bench.RATES, bench.RATIOS, depths)
    ]
    assert max(values) == pytest.approx(0.6, abs=1e-12)
    assert sum(value > 0.6 - 1e-9 for value in values) == 1


def test_reports_rise_to_a_noisy_truth(bench: ModuleType) -> None:
    surface = bench.Surface(0)
    gaps = []
    for number in range(200):
        surface.points[number] = bench.DEFAULTS
        reports = list(surface.reports(number))
        values = [report.value for report in reports]
        assert values == sorted(values)
        assert [report.finished for report in reports] == [False] * 8 + [True]
        assert np.mean(reports[3].rr) == pytest.approx(values[3])
        gaps.append(values[-1] - surface.truth(bench.DEFAULTS))
    assert np.std(gaps) == pytest.approx(bench.NOISE, rel=0.2)
    assert list(surface.reports(7)) == list(surface.reports(7))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_every_strategy_runs(bench: ModuleType, sampler: str) -> None:
    for strategy in bench.STRATEGIES:
        found = bench.one_search(sampler, strategy, seed=0, trials=15)
        assert found.gap >= 0.0
        assert (found.pruned > 0) == (found.epochs < 15 * bench.EPOCHS)
        assert (bench.STRATEGIES[strategy] != "none") == (found.pruned > 0)


def test_as_json(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given = "search_surface --seeds 2 --trials 6 --samplers random --strategies chain;beam --json"
    monkeypatch.setattr(sys, "argv", given.split())
    bench.main()
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["sampler"], row["strategy"]) for row in rows] == [("random", "chain"), ("random", "beam")]
    assert all(row["epochs"] == 6 * bench.EPOCHS for row in rows)


@pytest.mark.slow
def test_tpe_is_ahead_of_random(bench: ModuleType) -> None:
    tpe, random = (bench.row_of(sampler, "chain", seeds=5, trials=60) for sampler in ("tpe", "random"))
    assert tpe.within > random.within
    assert tpe.summary["median_gap"] < random.summary["median_gap"]
