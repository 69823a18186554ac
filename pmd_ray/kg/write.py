"""Writes a graph in the canonical layout, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pmd_ray.kg.check import read_folder
from pmd_ray.kg.graph import SPLITS, Graph
from pmd_ray.kg.load import assemble
from pmd_ray.spec.errors import DataError, StorageError, UserError


def write_graph(graph: Graph, folder: Path, source_note: str) -> None:
    """Write `graph` to the new folder `folder`, with `source_note` (Markdown: origin, licence) as its SOURCE.md.

    What was written is read back and compared before it gets its name, so that no tab or newline in a text can turn
    into a column or a row. Raises UserError where `folder` is in use, DataError where the graph breaks a rule of the
    layout, StorageError where the disk refuses; in each case nothing is left behind.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; remove it or choose another folder")
    with _aside(folder) as draft:
        _write_files(graph, draft, source_note)
        written = assemble(read_folder(draft), name=graph.name, source=folder)
        if not same_content(graph, written):
            rule = "a text holds a tab or a newline, or a triple a number past the ids"
            raise DataError(folder, [f"what was written reads back as another graph: {rule}"])


def same_content(one: Graph, other: Graph) -> bool:
    """Whether two graphs hold the same ids, texts and triples in the same order (names and warnings do not count)."""
    texts = ("entity_ids", "entity_names", "entity_descriptions", "relation_ids", "relation_texts")
    if any(getattr(one, text) != getattr(other, text) for text in texts):
        return False
    return all(one.triples(split).tolist() == other.triples(split).tolist() for split in SPLITS)


def _write_files(graph: Graph, folder: Path, source_note: str) -> None:
    entities = zip(graph.entity_ids, graph.entity_names, graph.entity_descriptions, strict=True)
    _write_rows(folder / "entities.tsv", entities)
    _write_rows(folder / "relations.tsv", zip(graph.relation_ids, graph.relation_texts, strict=True))
    for split in SPLITS:
        triples = graph.triples(split).tolist()
        rows = ((graph.entity_ids[h], graph.relation_ids[r], graph.entity_ids[t]) for h, r, t in triples)
        _write_rows(folder / f"{split}.tsv", rows)
    _write_text(folder / "SOURCE.md", source_note.rstrip("\n") + "\n")


def _write_rows(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    _write_text(path, "".join("\t".join(row) + "\n" for row in rows))


def _write_text(path: Path, text: str) -> None:
    # A lone surrogate is written too, so that reading back reports it with file and line.
    with path.open("wb") as file:
        file.write(text.encode("utf-8", errors="surrogatepass"))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Give a draft folder beside `folder`; it takes the name at the end, or goes where anything fails."""
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        draft.chmod(0o755)  # mkdtemp makes it 0o700; a dataset may be shared
        yield draft
        draft.rename(folder)  # replaces an empty folder, never a full one
    except OSError as error:
        raise StorageError(
            f"{folder} could not be written: {error.strerror or error}; nothing was left there"
        ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
