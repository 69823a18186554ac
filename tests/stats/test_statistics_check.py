"""A small run of `benchmarks/statistics_check.py`: coverage and sizes hold, and the check can fail."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from math import log, sqrt
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pmd_ray.stats.compare import compare
from pmd_ray.stats.words import Alternative

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "statistics_check.py"
REPEATS, TRIPLES = 300, 50
SLACK = sqrt(log(1 / 1e-5) / (2 * REPEATS))
"""What P(p <= u) of a valid p exceeds u by in one of 100,000 cells."""
LEAST = 0.95 - 4 * sqrt(0.05 * 0.95 / REPEATS)


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("statistics_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize("sds", [(0.0, 0.0), (0.0, 3.0), (0.5, 3.0)])
def test_normal_values(check: ModuleType, sds: tuple[float, float], seeds: int) -> None:
    cell = check.normal_cell(np.random.default_rng(7), sds, seeds, REPEATS, TRIPLES)
    assert cell.repeats == REPEATS
    assert cell.coverage >= LEAST
    assert cell.excess(check.TABLE) <= SLACK


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize("sds", [(0.0, 0.0), (0.5, 2.0)])
def test_ranks(check: ModuleType, sds: tuple[float, float], seeds: int) -> None:
    for cell in check.rank_cells(np.random.default_rng(8), sds, seeds, REPEATS, TRIPLES):
        assert cell.coverage >= LEAST
        assert not cell.small or cell.excess(check.TABLE) <= SLACK


def test_it_finds_tests_that_are_not_valid(check: ModuleType) -> None:
    """Sign flips over seeds take the triples for an effect, permutations over triples the seeds."""
    by_triples = check.normal_cell(np.random.default_rng(9), (0.0, 3.0), 10, REPEATS, TRIPLES)
    by_seeds = check.normal_cell(np.random.default_rng(9), (0.5, 0.0), 10, REPEATS, TRIPLES)
    assert by_triples.size("sign-flip") > 0.5
    assert by_triples.excess("sign-flip") > 0.3
    assert by_triples.size("permutation") < 0.1
    assert by_seeds.size("permutation") > 0.5
    assert by_seeds.size("sign-flip") < 0.1
    by_triples.covered = 0
    for alternative in (Alternative.TWO_SIDED, Alternative.GREATER):
        by_triples.small[f"{check.TABLE} {alternative}"] = by_triples.small[f"sign-flip {alternative}"]
    assert ["coverage 0.000" in line or "exceeds u" in line for line in check.failures([by_triples])] == [True, True]


def test_truth_of_ranks_is_their_mean(check: ModuleType) -> None:
    ranks, _ = check.ranks_of_two(np.random.default_rng(1), (4000, 1, 50), 0.3, 1.0)
    mrr, hits = check.truths(0.3, 1.0)
    assert (1 / ranks).mean() == pytest.approx(mrr, abs=0.005)
    assert (ranks == 1).mean() == pytest.approx(hits, abs=0.005)


@pytest.mark.parametrize("alternative", [Alternative.TWO_SIDED, Alternative.GREATER])
@pytest.mark.parametrize("shape", [(5, 3, 20), (5, 7, 6)])
def test_its_p_is_that_of_compare(check: ModuleType, alternative: Alternative, shape: tuple[int, int, int]) -> None:
    tables = 0.4 + check.normal_table(np.random.default_rng(2), shape, 0.3, 0.5)
    cell = check.Cell("normal", 0.3, 0.5, shape[1])
    for place in range(len(tables)):
        cell.count(tables[place : place + 1], 0.0, tested=True)
    p_values = np.array([compare(table, 0 * table, alternative=alternative).p for table in tables])
    expected = (p_values[None] <= check.LEVELS_U[:, None] + 1e-12).sum(axis=1)
    assert cell.small[f"{check.TABLE} {alternative}"].tolist() == expected.tolist()


def test_it_runs_as_a_file_and_prints_json() -> None:
    command = [sys.executable, str(SCRIPT), "--repeats", "2", "--triples", "4", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    found = json.loads(done.stdout)
    assert len(found["settings"]) == 4 * 9 * 5
    assert {setting["seeds"] for setting in found["settings"]} == {2, 3, 5, 10}
    assert done.returncode == (1 if found["failures"] else 0)
