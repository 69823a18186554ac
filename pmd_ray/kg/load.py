"""Loads a graph by folder or by name, and gives it the fingerprint of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pmd_ray.kg.catalog import bundled_folder, bundled_names, fetchable_names, nearest_name
from pmd_ray.kg.check import Tables, check_tables, read_folder
from pmd_ray.kg.graph import SPLITS, Graph, Split, Triples
from pmd_ray.spec.errors import UserError

FINGERPRINT_FORMAT = "pmd graph 1"
"""Raised when the same content is to get another fingerprint."""


def data_home(folder: Path | None = None) -> Path:
    """Where fetched datasets lie, one folder each: `folder`, else ~/.cache/pmd_ray/data."""
    return folder if folder is not None else Path.home() / ".cache" / "pmd_ray" / "data"


def load_graph(source: str | Path, *, name: str | None = None, home: Path | None = None) -> Graph:
    """Read and check a graph in the canonical layout.

    `source` is a folder, or the name of a bundled or fetched dataset (a folder of that name in the working directory
    comes first). `name` is the graph's name, else the folder's. `home` is where fetched datasets lie (`data_home`).

    Raises DataError with every problem of every file, UserError where `source` is neither a folder nor a dataset.
    """
    folder = find_folder(source, home=home)
    return assemble(read_folder(folder), name=name or folder.resolve().name, source=folder)


def find_folder(source: str | Path, *, home: Path | None = None) -> Path:
    """Return the folder of a graph given by folder or by name; see `load_graph`."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    named = str(source)
    if isinstance(source, Path) or len(folder.parts) != 1 or named != folder.name:
        raise UserError(f"there is no folder {folder}; give a folder with entities.tsv, or a dataset's name")
    fetched = data_home(home) / named
    for place in (bundled_folder(named), fetched):
        if (place / "entities.tsv").is_file():
            return place
    raise UserError(_not_found(named, home=data_home(home)))


def assemble(tables: Tables, *, name: str, source: str | Path) -> Graph:
    """Check the tables and make them a Graph; DataError, with `source` as its place, where they hold a problem."""
    report, triples = check_tables(tables)
    report.raise_problems(source)
    (entity_ids, names, descriptions), (relation_ids, texts) = tables.entities.columns, tables.relations.columns
    texts_by_column = {"entities": entity_ids, "names": names, "descriptions": descriptions}
    texts_by_column |= {"relations": relation_ids, "texts": texts}
    for split in SPLITS:
        triples[split].setflags(write=False)
    return Graph(
        name=name,
        entity_ids=entity_ids,
        entity_names=names,
        entity_descriptions=descriptions,
        relation_ids=relation_ids,
        relation_texts=texts,
        **triples,
        fingerprint=fingerprint_of(texts_by_column, triples),
        warnings=report.warnings,
    )


def fingerprint_of(columns: Mapping[str, tuple[str, ...]], triples: Mapping[Split, Triples]) -> str:
    """SHA-256 (hex) of a checked graph's content: every text column, then every split's numbers.

    The order of rows counts: entities are numbered in file order and batches follow the order of triples, so two
    orders train two models. Folder, file times, line ends at the end of a file and the graph's name do not count.
    """
    digest = hashlib.sha256(FINGERPRINT_FORMAT.encode())
    for chunk in _chunks(columns, triples):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(columns: Mapping[str, tuple[str, ...]], triples: Mapping[Split, Triples]) -> Iterator[bytes]:
    # Checked texts hold neither newline nor NUL, so these separators cannot be forged.
    for label, column in columns.items():
        yield f"\0{label} {len(column)}\n".encode()
        yield "\n".join(column).encode("utf-8", errors="surrogatepass")
    for split in SPLITS:
        yield f"\0{split} {len(triples[split])}\n".encode()
        yield np.ascontiguousarray(triples[split], dtype="<i4").tobytes()


def _not_found(named: str, *, home: Path) -> str:
    if named in fetchable_names():
        return f"dataset '{named}' is not on this machine; fetch it with: pmd data fetch {named}"
    on_disk = {table.parent.name for table in home.glob("[!.]*/entities.tsv")}
    known = sorted({*bundled_names(), *fetchable_names(), *on_disk})
    hint = nearest_name(named, known)
    listed = ", ".join(known)
    return (
        f"no graph '{named}': neither a folder nor a dataset{hint} (datasets: {listed}; pmd data fetch NAME gets one)"
    )
