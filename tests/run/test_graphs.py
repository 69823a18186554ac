"""A graph of this machine, published and read on another one: the same graph, found by its fingerprint alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from reference.tiny import write_chain, write_graph

from pmd_ray.kg.load import load_graph
from pmd_ray.run.distil import distil
from pmd_ray.run.graphs import bring_graph, fingerprinted, is_everywhere, published, push_graph
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.places import Places
from pmd_ray.store.store import Store


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    folder = write_graph(tmp_path / "tiny")
    (folder / "SOURCE.md").write_text("# tiny\n\n## Licence\n\nMine.\n", encoding="utf-8")
    return folder


def test_what_is_pushed_is_the_same_graph_with_its_note(graph: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    pushed, new = push_graph(str(graph), store)
    assert new and not push_graph(str(graph), store, thorough=True)[1]
    places = bring_graph(fingerprinted(pushed), Places(), store)
    assert places.graphs == store.datasets.folder
    there = load_graph(fingerprinted(pushed), graphs=places.graphs)
    assert (there.name, there.fingerprint) == ("tiny", load_graph(graph).fingerprint)
    note = store.datasets.fetch(pushed.fingerprint) / "SOURCE.md"
    assert "Mine." in note.read_text(encoding="utf-8")


def test_a_remote_one_is_copied_here(graph: Path, tmp_path: Path) -> None:
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    def opened(machine: str) -> Store:
        (tmp_path / "bucket").mkdir(exist_ok=True)
        files = SubTreeFileSystem(str(tmp_path / "bucket"), LocalFileSystem())
        return Store.open("store", cache=tmp_path / machine, filesystem=files)

    pushed, _ = push_graph(str(graph), opened("one"))
    places = bring_graph(fingerprinted(pushed), Places(), opened("other"))
    assert places.graphs == tmp_path / "other" / "graphs"
    assert load_graph(fingerprinted(pushed), graphs=places.graphs).fingerprint == pushed.fingerprint


def test_graphs_by_folder_or_name_stay_where_they_are(graph: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    assert bring_graph(str(graph), Places(), store) == Places()
    assert bring_graph("cldr", Places(), store) == Places()
    assert bring_graph("tiny@" + "a" * 12, Places()) == Places()
    with pytest.raises(UserError, match="holds no graph with the fingerprint 'aaaaaaaaaaaa'"):
        bring_graph("tiny@" + "a" * 12, Places(storage=store.location))


def test_which_graphs_every_node_has(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_everywhere("cldr") and is_everywhere("tiny@" + "a" * 12)
    assert not is_everywhere(str(graph)) and not is_everywhere("WN18RR")
    monkeypatch.chdir(graph.parent)
    (graph.parent / "cldr").mkdir()
    assert not is_everywhere("cldr")  # a folder of that name comes first


def test_it_is_published_where_this_machine_sees_the_store(graph: Path, tmp_path: Path) -> None:
    Store.open(tmp_path / "store")
    source = published(str(graph), str(tmp_path / "store"))
    assert source == fingerprinted(load_graph(graph))
    assert [one.source for one in Store.open(tmp_path / "store").datasets.all()] == [source]


def test_a_folder_that_is_no_store_here_is_not_made_one(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"from which .*/elsewhere is not seen .*pmd data push GRAPH --storage"):
        published(str(graph), str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(UserError, match="give --storage PLACE"):
        published(str(graph), None)
    with pytest.raises(UserError, match="no folder"):
        published(str(tmp_path / "none"), str(tmp_path / "store"))


@pytest.mark.ray
def test_each_worker_of_a_group_finds_it(ray_running: None, tmp_path: Path) -> None:
    chain = write_chain(tmp_path)
    pushed, _ = push_graph(str(tmp_path / "graph"), Store.open(tmp_path / "store"))
    shutil.rmtree(tmp_path / "graph")
    config = load_chain(str(chain), [f"dataset.source={fingerprinted(pushed)}", "layers=[2]", "mask_rates=[]"])
    places = Places(storage=str(tmp_path / "store"))
    result = distil(config, tmp_path / "run", places=places, plan=WorkerPlan(2, 2, cpus=1))
    assert result.dataset_fingerprint == pushed.fingerprint
    with pytest.raises(UserError, match="no graph with the fingerprint"):
        distil(config, tmp_path / "other", places=Places(graphs=tmp_path / "none"))
