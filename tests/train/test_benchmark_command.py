"""`python -m benchmarks`: each runs at toy size and prints lines that a program can read; nothing is timed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from reference import tiny_chain

from benchmarks import inputs, suite
from benchmarks.__main__ import main, spread
from benchmarks.clock import Clock, interleaved
from benchmarks.record import KEYS, Case, rows, shares
from benchmarks.suite import memory

QUICK = {"ranking": 1, "store": 5}
"""How many cases each has when small."""
LONGER = {"step": 2, "profile": 2, "tokenise": 3, "encode": 2, "plan": 1, "quality": 1}
PROCESSES = {"workers": 1, "memory": 2}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chain.written_graph(tmp_path_factory.mktemp("graph"))


def lines(name: str, graph: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    """What a small run prints."""
    settings = ["--json", "--small", "--repeat", "1", "--encoder", "scratch", "--data", str(graph)]
    assert main([name, *settings, *more]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def check(found: list[dict[str, Any]], name: str, count: int) -> None:
    assert len(found) == count
    for line in found:
        assert tuple(line)[: len(KEYS)] == KEYS
        assert line["name"].startswith(name)
        assert math.isfinite(line["ours_cpu_s"]) and line["ours_cpu_s"] >= 0
        assert (line["ratio"] is None) == (line["plain_cpu_s"] is None)
        assert (line["over_limit"] is None) == (line["limit_cpu_s"] is None)


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_one(name: str, graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(lines(name, graph, capsys), name, QUICK[name])


@pytest.mark.whole
@pytest.mark.parametrize("name", LONGER)
def test_a_longer_one(name: str, graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(lines(name, graph, capsys), name, LONGER[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_one_with_processes_of_its_own(name: str, graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(lines(name, graph, capsys), name, PROCESSES[name])


@pytest.mark.slow
def test_gradient_caching_keeps_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices of scores alone took 15 times 4 bytes a pair: 250 MB more for the larger batch."""
    monkeypatch.setattr(inputs, "BESIDE", tmp_path / "nothing")
    asked = inputs.Asked(work=tmp_path, encoder="scratch", small=True, batches=(128, 2048))
    small, large = (case.more for case in memory.cases(asked))
    assert large["peak_mb"] - small["peak_mb"] < 80
    assert small["plain_peak_mb"] > 0


@pytest.mark.ray
def test_a_stage_under_ray(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = lines("start", graph, capsys)
    check(found, "start", 1)
    assert {"wall_s", "alone_wall_s", "overhead_wall_s", "cold_wall_s"} <= set(found[0])


def test_every_benchmark_is_run_here() -> None:
    assert {*QUICK, *LONGER, *PROCESSES, "start"} == set(suite.names())


def test_without_data_the_bundled_graph_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inputs, "BESIDE", tmp_path)
    settings = ["--json", "--small", "--repeat", "1", "--encoder", "scratch"]
    assert main(["ranking", *settings]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == inputs.BUNDLED


def test_batches_and_cases_are_chosen(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = lines("ranking", graph, capsys, "--batch", "4", "6")
    assert [line["batch"] for line in found] == [4, 6]
    assert lines("ranking", graph, capsys, "--case", "nothing of the kind") == []


def test_without_json_it_prints_a_table(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ranking", "--small", "--repeat", "1", "--encoder", "scratch", "--data", str(graph)]) == 0
    assert capsys.readouterr().out.split()[: len(KEYS)] == list(KEYS)


def test_without_a_name_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == suite.names()
    assert all(len(line.split()) > 4 for line in listed)


def test_wrong_input_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ranknig"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["ranking", "--encoder", "scratch", "--data", str(tmp_path)]) == 2
    assert "entities.tsv" in capsys.readouterr().err
    assert main(["ranking", "--batch", "1"]) == 2


def test_several_values_of_an_option() -> None:
    given = ["step", "--batch", "64", "256", "--json", "--repeat", "2"]
    assert spread(given) == ["step", "--batch", "64", "--batch", "256", "--json", "--repeat", "2"]
    assert spread(["--repeat", "2", "step"]) == ["--repeat", "2", "step"]


def test_a_case_is_a_line() -> None:
    case = Case(name="a", data="b", batch=4, ours_cpu_s=2.0, plain_cpu_s=5.0, limit_cpu_s=1.6, more={"c": 1 / 3})
    line = case.line()
    assert tuple(line) == (*KEYS, "c")
    assert (line["ratio"], line["over_limit"], line["c"]) == (2.5, 1.25, 0.33333)
    alone = Case(name="a", data="b", batch=None, ours_cpu_s=2.0)
    assert [alone.line()[key] for key in ("plain_cpu_s", "ratio", "limit_cpu_s", "over_limit")] == [None] * 4
    assert rows([alone]) == [["a", "b", "-", "2", "-", "-", "-", "-"]]


def test_ways_take_turns_and_the_median_counts() -> None:
    turns: list[tuple[str, int]] = []

    def way(name: str, seconds: list[float]) -> Any:
        def run(number: int) -> dict[str, float]:
            turns.append((name, number))
            return {"x": seconds[number], "y": 1.0}

        return run

    times = interleaved({"a": way("a", [5.0, 1.0, 2.0]), "b": way("b", [7.0, 7.0, 7.0])}, 3)
    assert turns == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert times["a"].seconds == 3.0
    assert times["a"].phases == {"x": 2.0, "y": 1.0}
    assert shares(times["b"].phases) == "x 88%, y 12%"
    whole = interleaved({"c": lambda number: None}, 2)["c"]
    assert set(whole.phases) == {"all"}


def test_a_clock_adds_up_by_phase() -> None:
    clock = Clock()
    for _ in range(2):
        with clock.phase("work"):
            sum(range(200_000))
    spent = clock.take()
    assert set(spent) == {"work"} and spent["work"] > 0
    assert clock.take() == {}
