"""Graphs by fingerprint: published to a store in the canonical layout, brought to the machine that reads one."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from pmd_ray.kg.catalog import bundled_names
from pmd_ray.kg.graph import Graph
from pmd_ray.kg.load import by_fingerprint, find_folder, load_graph
from pmd_ray.kg.write import write_graph
from pmd_ray.spec.errors import StorageError, UserError
from pmd_ray.spec.places import Places
from pmd_ray.store.datasets import SHORT
from pmd_ray.store.location import local_path
from pmd_ray.store.store import Store

NOTE = "SOURCE.md"


def push_graph(source: str, store: Store, *, home: Path | None = None, thorough: bool = False) -> tuple[Graph, bool]:
    """Publish a graph's canonical files; the graph, and whether it was new to the store.

    Args:
        source: A folder or a dataset's name, as `load_graph` reads it.
        thorough: Of a graph that is there already, read everything to see whether it is whole.

    Raises:
        UserError, DataError: what is wrong with the graph.
        StorageError: the storage refuses.
    """
    folder = find_folder(source, home=home)
    graph = load_graph(source, home=home)
    with tempfile.TemporaryDirectory(prefix="pmd-graph-") as place:
        made = Path(place) / "graph"
        write_graph(graph, made, _note(folder, graph))
        new = store.datasets.publish(made, name=graph.name, fingerprint=graph.fingerprint, thorough=thorough)
    return graph, new


def fingerprinted(graph: Graph) -> str:
    """A graph as a study's `dataset.source` names it wherever it lies."""
    return f"{graph.name.replace('@', '_')}@{graph.fingerprint[:SHORT]}"


def bring_graph(source: str, places: Places, store: Store | None = None) -> Places:
    """Places in which a graph is found on this machine; copied there from a remote store where it must be.

    Nothing is done for a graph by folder or name, or where no store is known.

    Args:
        store: Already open; else the one at `places.storage`.

    Raises:
        UserError: the store has no graph of that fingerprint, or it is broken.
        StorageError: the storage does not answer, or the disk refuses the copy.
    """
    asked = by_fingerprint(source)
    if asked is None or (store is None and places.storage is None):
        return places
    store = store or Store.open(places.storage or "", create=False)
    store.datasets.fetch(asked.digits)
    return replace(places, graphs=store.datasets.folder)


def _note(folder: Path, graph: Graph) -> str:
    """The graph's own note of origin and licence goes with it."""
    place = folder / NOTE
    if place.is_file():
        return place.read_text(encoding="utf-8", errors="replace")
    return f"# {graph.name}\n\nPublished by `pmd data push`.\n\n## Licence\n\nNot recorded; see where it came from.\n"


def is_everywhere(source: str) -> bool:
    """Whether every node finds a graph by what it is called: by fingerprint, or in the package."""
    if by_fingerprint(source) is not None:
        return True
    return not Path(source).expanduser().is_dir() and source in bundled_names()


def published(source: str, storage: str | None, *, home: Path | None = None) -> str:
    """A graph of this machine, published to a cluster's storage: how its `dataset.source` is written there.

    Raises:
        UserError: the graph is wrong; no storage is given, or this machine does not see it.
        StorageError: the storage refuses.
    """
    find_folder(source, home=home)  # a graph that is not there is the first thing to say
    if storage is None:
        raise UserError(
            f"the graph '{source}' is one of this machine; give --storage PLACE, so that it can be published there for "
            "the nodes"
        )
    try:
        # A folder that is no store here is another machine's: one made here would be seen by nobody.
        store = Store.open(storage, create=local_path(storage) is None)
    except (UserError, StorageError) as error:
        raise UserError(
            f"the graph '{source}' is one of this machine, from which {storage} is not seen ({error}); on a machine "
            f"that sees it: pmd data push GRAPH --storage {storage}, then --set dataset.source=NAME@FINGERPRINT"
        ) from None
    graph, _ = push_graph(source, store, home=home)
    return fingerprinted(graph)
