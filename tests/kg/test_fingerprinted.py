"""A graph given as NAME@DIGITS: found by its fingerprint alone, and refused where it is another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from reference.tiny import write_graph

from pmd_ray.kg.load import by_fingerprint, find_folder, load_graph
from pmd_ray.spec.errors import UserError


@pytest.fixture
def placed(tmp_path: Path) -> tuple[Path, str]:
    """A folder of graphs by fingerprint, and the fingerprint of the one in it."""
    graph = write_graph(tmp_path / "tiny")
    fingerprint = load_graph(graph).fingerprint
    shutil.move(graph, tmp_path / "graphs" / f"{fingerprint}-copy")
    return tmp_path / "graphs", fingerprint


def test_it_is_found_by_its_fingerprint_and_called_as_asked(placed: tuple[Path, str]) -> None:
    graphs, fingerprint = placed
    for digits in (fingerprint, fingerprint[:12]):
        graph = load_graph(f"mine@{digits}", graphs=graphs)
        assert (graph.name, graph.fingerprint) == ("mine", fingerprint)


def test_another_graph_under_the_fingerprint_is_refused(placed: tuple[Path, str]) -> None:
    graphs, fingerprint = placed
    table = graphs / f"{fingerprint}-copy" / "entities.tsv"
    table.write_text(table.read_text().replace("Twin", "Single", 1))
    with pytest.raises(UserError, match="holds another graph than its name says"):
        load_graph(f"mine@{fingerprint}", graphs=graphs)


def test_one_that_is_not_here_says_where_it_comes_from(placed: tuple[Path, str]) -> None:
    with pytest.raises(UserError, match=r"no graph with the fingerprint '0{12}' on this machine .*pmd data push GRAPH"):
        find_folder("mine@" + "0" * 12, graphs=placed[0])


def test_two_that_begin_alike_are_told_apart(placed: tuple[Path, str]) -> None:
    graphs, fingerprint = placed
    other = fingerprint[:20] + ("0" if fingerprint[20] != "0" else "1") * 44
    shutil.copytree(graphs / f"{fingerprint}-copy", graphs / other)
    with pytest.raises(UserError, match=r"2 graphs in .* give more digits"):
        find_folder(f"mine@{fingerprint[:12]}", graphs=graphs)
    assert find_folder(f"mine@{fingerprint[:24]}", graphs=graphs).name == f"{fingerprint}-copy"


@pytest.mark.parametrize("digits", ["", "abc", "a" * 11, "a" * 65, "A" * 12, "g" * 12])
def test_too_few_or_other_digits_are_no_fingerprint(digits: str) -> None:
    with pytest.raises(UserError, match="a fingerprint has 12 to 64 digits"):
        by_fingerprint(f"mine@{digits}")


def test_folders_and_names_are_not_fingerprints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_fingerprint("cldr") is None
    assert by_fingerprint("data/graph@v2") is None
    assert by_fingerprint(Path("graph@" + "a" * 12)) is None
    write_graph(tmp_path / "graph@v2")
    monkeypatch.chdir(tmp_path)
    assert find_folder("graph@v2") == Path("graph@v2")
