"""`pmd evaluate`: the figures of training again, re-ranking beside them, ranks as Parquet."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]


def test_it_gives_the_figures_of_training(pmd: Pmd, tiny_run: Any) -> None:
    done = pmd("evaluate", tiny_run.out / "1", "--json")
    assert done.code == 0
    trained = pmd("distill", tiny_run.chain, "--out", tiny_run.out, "--json").json["grades"][2]
    told = done.json
    for name in ("mrr", "hits@1", "hits@3", "hits@10", "mr", "queries"):
        assert told[name] == told["all"][name] == pytest.approx(trained[name], abs=1e-9)
    halves = [told[direction] for direction in ("forward", "backward")]
    assert sum(half["queries"] for half in halves) == told["queries"] == 22
    assert sum(half["mrr"] for half in halves) / 2 == pytest.approx(told["mrr"])
    assert set(told["by_relation"]) == {"next", "double"}
    assert told["reranked"] is None


def test_the_table_has_a_row_for_each_direction_and_relation(pmd: Pmd, tiny_run: Any) -> None:
    done = pmd("evaluate", tiny_run.out / "1", "--by-relation", "--split", "valid", "--rerank-hops", "2")
    assert done.code == 0
    title, head, *rows = done.out.splitlines()
    assert title == "graph, valid split, filtered"
    assert head.split() == ["queries", "number", "MRR", "Hits@1", "Hits@3", "Hits@10", "MR"]
    names = ["all", "forward", "backward"]
    again = [f"{name}, re-ranked" for name in names]
    assert [row.split("  ")[0] for row in rows if row] == [*names, *again, "relation next", "relation double"]


def test_ranks_are_written_as_parquet(pmd: Pmd, tiny_run: Any, tmp_path: Path) -> None:
    told = pmd("evaluate", tiny_run.out / "1" / "model", "--ranks", tmp_path / "new" / "ranks.parquet", "--json").json
    ranks = pq.read_table(tmp_path / "new" / "ranks.parquet")["rank"].to_pylist()
    assert sum(1 / rank for rank in ranks) / len(ranks) == pytest.approx(told["mrr"])


def test_another_graph(pmd: Pmd, tiny_run: Any, tmp_path: Path) -> None:
    """As in an inductive test: the model meets a graph that it was not trained on."""
    other = shutil.copytree(tiny_run.chain.parent / "graph", tmp_path / "other")
    (other / "test.tsv").write_text("e01\tdouble\te05\n")
    told = pmd("evaluate", tiny_run.out / "1", "--data", other, "--json").json
    assert (told["data"], told["queries"]) == ("other", 2)


def test_a_cache_gives_equal_figures(pmd: Pmd, tiny_run: Any, tmp_path: Path) -> None:
    runs = [pmd("evaluate", tiny_run.out / "1", "--cache", tmp_path / "cache", "--json").json for _ in range(2)]
    assert runs[0] == runs[1]
    assert list((tmp_path / "cache").glob("*.arrow"))
