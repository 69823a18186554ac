"""Loads a graph by folder, by name or by fingerprint, and gives it the fingerprint of its content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pmd_ray.kg.catalog import bundled_folder, bundled_names, fetchable_names, nearest_name
from pmd_ray.kg.check import Tables, check_tables, read_folder
from pmd_ray.kg.graph import SPLITS, Graph, Split, Triples
from pmd_ray.spec.errors import UserError

FINGERPRINT_FORMAT = "pmd graph 1"
"""Raised when the same content is to get another fingerprint."""
BY_FINGERPRINT = re.compile(r"(?P<name>[^/\\@]+)@(?P<digits>[^/\\@]*)")
DIGITS = re.compile(r"[0-9a-f]{12,64}")
"""Of a fingerprint: enough to tell graphs apart."""


class Fingerprinted(NamedTuple):
    """A source of the form NAME@DIGITS: whatever graph has a fingerprint that begins so."""

    name: str
    digits: str


def data_home(folder: Path | None = None) -> Path:
    """Where fetched datasets lie, one folder each: `folder`, else ~/.cache/pmd_ray/data."""
    return folder if folder is not None else Path.home() / ".cache" / "pmd_ray" / "data"


def graphs_home(folder: Path | None = None) -> Path:
    """Where graphs lie by fingerprint, each in a folder whose name begins with it: ~/.cache/pmd_ray/graphs."""
    return folder if folder is not None else Path.home() / ".cache" / "pmd_ray" / "graphs"


def load_graph(
    source: str | Path, *, name: str | None = None, home: Path | None = None, graphs: Path | None = None
) -> Graph:
    """Read and check a graph in the canonical layout.

    `source` is a folder, the name of a bundled or fetched dataset (a folder of that name in the working directory
    comes first), or NAME@DIGITS: the graph whose fingerprint begins so. `name` is the graph's name, else the folder's
    or NAME. `home` is where fetched datasets lie (`data_home`), `graphs` those by fingerprint (`graphs_home`).

    Raises DataError with every problem of every file, UserError where `source` is neither a folder nor a dataset.
    """
    folder = find_folder(source, home=home, graphs=graphs)
    asked = by_fingerprint(source)
    graph = assemble(read_folder(folder), name=name or (asked or folder.resolve()).name, source=folder)
    if asked and not graph.fingerprint.startswith(asked.digits):
        raise UserError(
            f"{folder} holds another graph than its name says (fingerprint {graph.fingerprint[:12]}); remove it, and "
            "publish the graph again with: pmd data push GRAPH --storage PLACE"
        )
    return graph


def by_fingerprint(source: str | Path) -> Fingerprinted | None:
    """The parts of NAME@DIGITS; None for a folder and for a dataset's name.

    Raises:
        UserError: what follows the @ is no fingerprint.
    """
    found = BY_FINGERPRINT.fullmatch(source) if isinstance(source, str) else None
    if found is None:
        return None
    if DIGITS.fullmatch(found["digits"]):
        return Fingerprinted(**found.groupdict())
    if Path(str(source)).is_dir():
        return None
    raise UserError(
        f"'{source}': a fingerprint has 12 to 64 digits of 0-9 and a-f, got '{found['digits']}' "
        f"({len(found['digits'])}); pmd data push GRAPH --storage PLACE prints it"
    )


def find_folder(source: str | Path, *, home: Path | None = None, graphs: Path | None = None) -> Path:
    """Return the folder of a graph given by folder, name or fingerprint; see `load_graph`."""
    if asked := by_fingerprint(source):
        return _find_fingerprinted(asked, graphs_home(graphs))
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


def _find_fingerprinted(asked: Fingerprinted, graphs: Path) -> Path:
    found = sorted(table.parent for table in graphs.glob(f"{asked.digits}*/entities.tsv"))
    if len({place.name[:64] for place in found}) > 1:
        raise UserError(f"{len(found)} graphs in {graphs} begin with '{asked.digits}'; give more digits")
    if found:
        return found[0]
    raise UserError(
        f"no graph with the fingerprint '{asked.digits}' on this machine ({graphs}); it is looked for in a study's "
        f"--storage: publish it there with pmd data push GRAPH --storage PLACE, and give that --storage here"
    )


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
