"""Loading and writing: what is written reads back as the same graph, and nothing is left half-written."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.kg.graph import SPLITS, Graph
from pmd_ray.kg.load import data_home, fingerprint_of, load_graph
from pmd_ray.kg.read import CONTROL
from pmd_ray.kg.write import same_content, write_graph
from pmd_ray.spec.errors import DataError, StorageError, UserError

# All of Unicode that may stand in a text: no control characters, no separators of lines, no surrogates.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff"), max_size=12)
ids = texts.map(str.strip).filter(bool)
names = texts.filter(lambda text: bool(text.strip()))


def triples(*rows: tuple[int, int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    return np.array(rows, dtype=np.int32).reshape(-1, 3)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    entities = tuple(draw(st.lists(ids, min_size=3, max_size=6, unique=True)))
    relations = tuple(draw(st.lists(ids, min_size=1, max_size=3, unique=True)))
    triple = st.tuples(
        st.integers(0, len(entities) - 1), st.integers(0, len(relations) - 1), st.integers(0, len(entities) - 1)
    )
    rows = draw(st.lists(triple, min_size=3, max_size=9, unique=True))
    names_drawn = tuple(draw(st.lists(names, min_size=len(entities), max_size=len(entities))))
    return Graph(
        name="drawn",
        entity_ids=entities,
        entity_names=names_drawn,
        entity_descriptions=tuple(draw(st.lists(texts, min_size=len(entities), max_size=len(entities)))),
        relation_ids=relations,
        relation_texts=tuple(draw(st.lists(names, min_size=len(relations), max_size=len(relations)))),
        train=triples(*rows[2:]),
        valid=triples(rows[0]),
        test=triples(rows[1]),
        fingerprint="",
    )


def small(**changes: object) -> Graph:
    graph = Graph(
        name="small",
        entity_ids=("a", "b"),
        entity_names=("Ada", "Babbage"),
        entity_descriptions=("", "engineer"),
        relation_ids=("knows",),
        relation_texts=("knows",),
        train=triples((0, 0, 1)),
        valid=triples((1, 0, 0)),
        test=triples((0, 0, 0)),
        fingerprint="",
    )
    return replace(graph, **changes)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(graph=graphs())
def test_written_graph_loads_equal(graph: Graph) -> None:
    with tempfile.TemporaryDirectory() as parent:
        once, twice = Path(parent, "once"), Path(parent, "twice")
        write_graph(graph, once, "# drawn")
        loaded = load_graph(once)
        assert same_content(graph, loaded)
        write_graph(loaded, twice, "# another note")
        assert load_graph(twice, name="else").fingerprint == loaded.fingerprint
        assert sorted(path.name for path in Path(parent).iterdir()) == ["once", "twice"]


def changed(graph: Graph, draw: st.DataObject) -> Graph:
    """The graph with one piece of its content exchanged."""
    column = draw.draw(
        st.sampled_from(["entity_names", "entity_descriptions", "relation_texts", "entity_ids", "train"])
    )
    if column == "train":
        return replace(graph, train=graph.train[::-1] if len(graph.train) > 1 else graph.train[:, [2, 1, 0]])
    values = list(getattr(graph, column))
    place = draw.draw(st.integers(0, len(values) - 1))
    values[place] += "+"
    return replace(graph, **{column: tuple(values)})  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_fingerprint_tells_any_change(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    other = changed(graph, data)
    assert fingerprint(graph) == fingerprint(replace(graph, name="else"))
    if not same_content(graph, other):  # a self-loop turned round is itself
        assert fingerprint(graph) != fingerprint(other)


def fingerprint(graph: Graph) -> str:
    columns = ("entity_ids", "entity_names", "entity_descriptions", "relation_ids", "relation_texts")
    return fingerprint_of({name: getattr(graph, name) for name in columns}, {s: graph.triples(s) for s in SPLITS})


def test_fingerprint_forgets_the_last_line_end_and_keeps_the_order(tmp_path: Path) -> None:
    write_graph(small(train=triples((0, 0, 1), (1, 0, 1))), tmp_path / "g", "")
    before = load_graph(tmp_path / "g").fingerprint
    train = tmp_path / "g" / "train.tsv"
    train.write_bytes(train.read_bytes().removesuffix(b"\n"))
    assert load_graph(tmp_path / "g").fingerprint == before
    train.write_text("\n".join(reversed(train.read_text().split("\n"))) + "\n")
    assert load_graph(tmp_path / "g").fingerprint != before


@pytest.mark.parametrize("text", ["tab\tinside", "line\ninside", "x\ny\tz\tw", "nul\0", "sep\u2028", "lone\ud800", " "])
def test_texts_that_the_layout_cannot_hold_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        write_graph(small(entity_names=("Ada", text)), tmp_path / "g", "")
    assert list(tmp_path.iterdir()) == []


def test_a_full_folder_is_refused_and_an_empty_one_filled(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="not empty"):
        write_graph(small(), tmp_path / "full", "")
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep me"
    (tmp_path / "empty").mkdir()
    write_graph(small(), tmp_path / "empty", "# where from")
    assert (tmp_path / "empty" / "SOURCE.md").read_text() == "# where from\n"


def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageError, match="No space left"):
        write_graph(small(), tmp_path / "g", "")
    assert list(tmp_path.iterdir()) == []


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    write_graph(small(), home / "mine", "")
    monkeypatch.chdir(tmp_path)
    assert load_graph("mine", home=home).name == "mine"
    assert load_graph(home / "mine").name == load_graph(f"{home}/mine").name == "mine"
    assert load_graph("mine", home=home, name="other").name == "other"
    with pytest.raises(UserError, match="pmd data fetch UMLS"):
        load_graph("UMLS", home=home)
    with pytest.raises(UserError, match="did you mean 'WN18RR'"):
        load_graph("wn18r", home=home)
    with pytest.raises(UserError, match="there is no folder"):
        load_graph(tmp_path / "UMLS", home=home)
    with pytest.raises(UserError, match="there is no folder"):
        load_graph("nowhere/UMLS", home=home)


def test_data_home(tmp_path: Path) -> None:
    assert data_home(tmp_path) == tmp_path
    assert data_home().parts[-3:] == (".cache", "pmd_ray", "data")


def test_graph_as_loaded(tmp_path: Path) -> None:
    write_graph(small(), tmp_path / "g", "")
    graph = load_graph(tmp_path / "g")
    assert graph.train.dtype == np.int32
    assert graph.train.shape == (1, 3)
    assert len(graph.fingerprint) == 64
    assert not graph.train.flags.writeable
    assert "1 of 2 entities have no description" in graph.warnings


def test_control_set_holds_what_splitlines_breaks_at() -> None:
    breaking = [chr(n) for n in range(0x11000) if not 0xD800 <= n < 0xE000 and len(f"a{chr(n)}b".splitlines()) > 1]
    assert all(CONTROL.match(character) or character == "\n" for character in breaking)
