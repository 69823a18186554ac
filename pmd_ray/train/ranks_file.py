"""The ranks file: Parquet with one row a query, from which every table and test can be made again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import UserError

FORMAT = b"pmd ranks 1"
"""Raised when the columns change their meaning."""
DIRECTIONS = ("forward", "backward")
_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("query", pa.int32()),
        ("direction", _WORD),
        ("head", _WORD),
        ("relation", _WORD),
        ("answer", _WORD),
        ("rank", pa.float64()),
        ("score", pa.float32()),
        ("top_ids", pa.list_(_WORD)),
        ("top_scores", pa.list_(pa.float32())),
        ("reranked_rank", pa.float64()),
    ]
)
"""`reranked_rank` is null where there was no re-ranking. Top lists are as long as there are candidates."""


@dataclass(frozen=True, kw_only=True)
class RankRows:
    """Ranked queries as arrays; entities and relations are numbers, which the file writes as ids."""

    queries: NDArray[np.int64]
    """[Q, 3] head, relation and answer as asked; relations from R on are inverses (backward queries)."""
    ranks: NDArray[np.float64]
    """[Q] filtered ranks."""
    scores: NDArray[np.float32]
    """[Q] scores of the answers."""
    top_ids: NDArray[np.int32]
    """[Q, T] best candidates, -1 where there are fewer."""
    top_scores: NDArray[np.float32]
    """[Q, T] their scores, NaN likewise."""
    reranked: NDArray[np.float64] | None = None
    """[Q] ranks with the neighbour bonus."""


def write_ranks(path: Path, rows: RankRows, *, entity_ids: Sequence[str], relation_ids: Sequence[str]) -> None:
    """Write the file aside and rename it, so that a reader sees a whole file or none.

    A backward query has as `head` the entity that it is asked from (the triple's tail) and as `answer` the triple's
    head; `relation` is the relation's id as written, and `direction` tells the two apart.

    Raises:
        StorageError: The disk refuses; nothing is left behind.
    """
    heads, relations, answers = rows.queries.T
    there = rows.top_ids >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]), pa.int32())
    reranked = pa.nulls(len(heads), pa.float64()) if rows.reranked is None else pa.array(rows.reranked, pa.float64())
    columns = {
        "query": pa.array(np.arange(len(heads), dtype=np.int32)),
        "direction": _words(relations // len(relation_ids), DIRECTIONS),
        "head": _words(heads, entity_ids),
        "relation": _words(relations % len(relation_ids), relation_ids),
        "answer": _words(answers, entity_ids),
        "rank": pa.array(rows.ranks, pa.float64()),
        "score": pa.array(rows.scores, pa.float32()),
        "top_ids": pa.ListArray.from_arrays(offsets, _words(rows.top_ids[there], entity_ids)),
        "top_scores": pa.ListArray.from_arrays(offsets, pa.array(rows.top_scores[there], pa.float32())),
        "reranked_rank": reranked,
    }
    metadata = {"format": FORMAT, "top": str(rows.top_ids.shape[1])}
    _write(path, pa.table(columns, schema=SCHEMA.with_metadata(metadata)))


def read_ranks(path: Path, *, entity_ids: Sequence[str], relation_ids: Sequence[str]) -> RankRows:
    """Read the file back as numbers; UserError where it is no ranks file, or names an id that is not given."""
    table = read_ranks_table(path)
    entities, relations = _index(entity_ids), _index(relation_ids)
    try:
        backward = _numbers(table["direction"], _index(DIRECTIONS))
        asked = _numbers(table["relation"], relations) + backward * len(relation_ids)
        queries = np.stack([_numbers(table["head"], entities), asked, _numbers(table["answer"], entities)], axis=1)
        top_ids, top_scores = _top_arrays(table, entities)
    except KeyError as error:
        raise UserError(f"{path} names {error}, which the graph lacks; give the graph it was made on") from error
    return RankRows(
        queries=queries,
        ranks=table["rank"].to_numpy(),
        scores=table["score"].to_numpy(),
        top_ids=top_ids,
        top_scores=top_scores,
        reranked=None if table["reranked_rank"].null_count else table["reranked_rank"].to_numpy(),
    )


def read_ranks_table(path: Path) -> pa.Table:
    """Read the file as it stands, with ids: for tables over many models. UserError where it is no ranks file."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as a ranks file ({error}); make it again: pmd evaluate") from error
    if (table.schema.metadata or {}).get(b"format") != FORMAT:
        raise UserError(f"{path} is no ranks file of this version; make it again: pmd evaluate")
    return table


def _write(path: Path, table: pa.Table) -> None:
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with storing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, aside, compression="zstd")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _index(words: Sequence[str]) -> dict[str, int]:
    return {word: number for number, word in enumerate(words)}


def _words(numbers: NDArray[np.integer], words: Sequence[str]) -> pa.DictionaryArray:
    """Numbers as the words they stand for; only words that occur are stored."""
    used, places = np.unique(numbers, return_inverse=True)
    dictionary = pa.array([words[number] for number in used], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(places.reshape(-1), pa.int32()), dictionary)


def _numbers(words: pa.ChunkedArray, index: Mapping[str, int]) -> NDArray[np.int64]:
    """The number of each word; KeyError where there is none."""
    parts = [np.empty(0, dtype=np.int64)]
    for chunk in words.chunks:
        known = np.array([index[word] for word in chunk.dictionary.to_pylist()], dtype=np.int64)
        parts.append(known[chunk.indices.to_numpy()])
    return np.concatenate(parts)


def _top_arrays(table: pa.Table, entities: Mapping[str, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    lists = table["top_ids"]
    lengths = pc.list_value_length(lists).to_numpy()
    there = np.arange(int(table.schema.metadata[b"top"])) < lengths[:, None]
    ids, scores = np.full(there.shape, -1, dtype=np.int32), np.full(there.shape, np.nan, dtype=np.float32)
    ids[there] = _numbers(pa.chunked_array([chunk.flatten() for chunk in lists.chunks], _WORD), entities)
    scores[there] = pc.list_flatten(table["top_scores"]).to_numpy()
    return ids, scores
