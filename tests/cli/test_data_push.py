"""`pmd data push` and `pmd data list --storage`: a graph published once, named by its fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.tiny import write_graph

from pmd_ray.kg.load import load_graph
from pmd_ray.store.store import Store

Pmd = Callable[..., Any]


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PMD_STORAGE", raising=False)
    return write_graph(tmp_path / "tiny")


def test_the_name_to_give_is_all_that_is_printed(pmd: Pmd, graph: Path, tmp_path: Path) -> None:
    fingerprint = load_graph(graph).fingerprint
    done = pmd("data", "push", graph, "--storage", tmp_path / "store")
    assert (done.code, done.out) == (0, f"tiny@{fingerprint[:12]}\n")
    assert "has it now" in done.err
    again = pmd("data", "push", graph, "--storage", tmp_path / "store", "--json")
    assert again.json["source"] == f"tiny@{fingerprint[:12]}" and again.json["fingerprint"] == fingerprint
    assert again.json["new"] is False


def test_what_was_pushed_is_listed(pmd: Pmd, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(tmp_path / "store")
    assert pmd("data", "list", "--storage", tmp_path / "store").out.startswith("0 graphs in")
    monkeypatch.setenv("PMD_STORAGE", str(tmp_path / "store"))
    pmd("data", "push", graph)
    pmd("data", "push", "cldr")
    told = pmd("data", "list", "--storage", tmp_path / "store", "--json").json
    assert [one["name"] for one in told["graphs"]] == ["cldr", "tiny"]
    shown = pmd("data", "list", "--storage", tmp_path / "store").out
    assert told["graphs"][1]["source"] in shown and "2 graphs" in shown
    # Without --storage the list is that of the datasets known by name, whatever PMD_STORAGE says.
    assert "bundled" in pmd("data", "list").out


def test_a_broken_one_is_published_again(pmd: Pmd, graph: Path, tmp_path: Path) -> None:
    pmd("data", "push", graph, "--storage", tmp_path / "store")
    (table,) = (tmp_path / "store" / "datasets").glob("*/train.tsv")
    table.write_text("cut", encoding="utf-8")
    assert "has it now" in pmd("data", "push", graph, "--storage", tmp_path / "store").err
    (table,) = (tmp_path / "store" / "datasets").glob("*/train.tsv")
    assert table.read_bytes() == (graph / "train.tsv").read_bytes()


def test_bad_input(pmd: Pmd, graph: Path, tmp_path: Path) -> None:
    assert pmd("data", "push", graph).code == 2  # no storage
    missing = pmd("data", "push", tmp_path / "none", "--storage", tmp_path / "store")
    assert missing.code == 2 and "there is no folder" in missing.err
    (graph / "train.tsv").write_text("no\tsuch\tid\n", encoding="utf-8")
    broken = pmd("data", "push", graph, "--storage", tmp_path / "store")
    assert broken.code == 2 and "train.tsv:1:" in broken.err
    assert Store.open(tmp_path / "store").datasets.keys() == []
    nothing = pmd("data", "list", "--storage", tmp_path / "nowhere")
    assert nothing.code == 2 and "holds no store" in nothing.err


@pytest.mark.whole
def test_a_model_is_used_on_a_graph_of_a_storage(pmd: Pmd, tiny_run: Any, graph: Path, tmp_path: Path) -> None:
    source = pmd("data", "push", graph, "--storage", tmp_path / "store").out.strip()
    model = tiny_run.out / "1"
    told = pmd("evaluate", model, "--data", source, "--storage", tmp_path / "store", "--json")
    assert told.code == 0, told.err
    assert told.json["mrr"] == pmd("evaluate", model, "--data", graph, "--json").json["mrr"]
    unknown = pmd("evaluate", model, "--data", "tiny@" + "0" * 12, "--storage", tmp_path / "store")
    assert unknown.code == 2 and "holds no graph with the fingerprint" in unknown.err
    short = pmd("evaluate", model, "--data", "tiny@abc", "--storage", tmp_path / "store")
    assert short.code == 2 and "12 to 64 digits" in short.err
