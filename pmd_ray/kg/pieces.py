"""The tokens of every name, description and relation of a graph, made once and memory-mapped.

A text such as `name: description neighbour neighbour` is joined from these pieces. WordPiece splits at white space and
punctuation first, so the joined pieces are the tokens of the joined text (a test compares them token for token).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Protocol

import numpy as np
import pyarrow as pa

from pmd_ray.kg.graph import Graph
from pmd_ray.spec.disk import new_folders, storing
from pmd_ray.spec.ragged import Ragged

LAYOUT = 1
"""Raised when the file's content changes."""
COLUMNS = ("entity_names", "entity_descriptions", "relations", "inverse_relations", "colon")


class Tokenizer(Protocol):
    """What this room needs of a WordPiece tokenizer."""

    fingerprint: str
    cls: int
    sep: int

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens and without cutting."""
        ...


@dataclass(frozen=True)
class Pieces:
    """Token ids by entity or relation number; row 0 of `colon` is the separator between name and description."""

    entity_names: Ragged
    entity_descriptions: Ragged
    relations: Ragged
    inverse_relations: Ragged
    colon: Ragged


def stripped_description(name: str, description: str) -> str:
    """The description without a leading repetition of the name (SimKGC, `_concat_name_desc`)."""
    return description[len(name) :].strip() if description.startswith(name) else description


def inverse_text(relation: str) -> str:
    """The text of an inverse relation (SimKGC)."""
    return f"inverse {relation}"


def make_pieces(graph: Graph, tokenizer: Tokenizer) -> Pieces:
    """Tokenise every text of a graph once."""
    described = [
        stripped_description(*pair) for pair in zip(graph.entity_names, graph.entity_descriptions, strict=True)
    ]
    texts = (
        graph.entity_names,
        described,
        graph.relation_texts,
        [inverse_text(text) for text in graph.relation_texts],
        [":"],
    )
    return Pieces(*(Ragged.of(tokenizer.tokenize(list(column))) for column in texts))


def open_pieces(graph: Graph, tokenizer: Tokenizer, cache: Path | None) -> Pieces:
    """Pieces from the cache folder, memory-mapped, made there first where they are not.

    Args:
        cache: Folder of Arrow files named by the fingerprints of graph and tokenizer; None keeps all in memory.
    """
    if cache is None:
        return make_pieces(graph, tokenizer)
    name = hashlib.sha256(f"{LAYOUT} {graph.fingerprint} {tokenizer.fingerprint}".encode()).hexdigest()[:32]
    path = cache / f"{name}.arrow"
    if not path.exists():
        _write(make_pieces(graph, tokenizer), path)
    return _read(path)


def _write(pieces: Pieces, path: Path) -> None:
    """Write aside and rename, so that a reader sees a whole file or none; StorageError where the disk refuses."""
    aside = path.with_name(f"{path.name}.{token_hex(4)}")  # two hosts may have processes of the same number
    schema = pa.schema([("values", pa.list_(pa.int32())), ("offsets", pa.list_(pa.int64()))])
    with storing(path), new_folders(path.parent):
        try:
            with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                for column in COLUMNS:
                    ragged: Ragged = getattr(pieces, column)
                    arrays = [_one_list(ragged.values, pa.int32()), _one_list(ragged.offsets, pa.int64())]
                    writer.write_batch(pa.record_batch(arrays, schema=schema))
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _one_list(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), pa.array(values, kind))


def _read(path: Path) -> Pieces:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    batches = [reader.get_batch(place) for place in range(reader.num_record_batches)]
    columns = [[batch.column(i).values.to_numpy(zero_copy_only=True) for i in (0, 1)] for batch in batches]
    return Pieces(*(Ragged(values, offsets) for values, offsets in columns))
