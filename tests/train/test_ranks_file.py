"""A ranks file is read back equal, whole or not at all."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pmd_ray.spec.errors import StorageError, UserError
from pmd_ray.train.ranks_file import RankRows, read_ranks, read_ranks_table, write_ranks

GRAPH = {
    "entity_ids": [f"/m/{number:02d}é" for number in range(12)],
    "relation_ids": [f"r{number}" for number in range(3)],
}


def some_rows(count: int, *, reranked: bool) -> RankRows:
    rng = np.random.default_rng(count)
    ids = np.argsort(rng.random((count, 12)))[:, :10].astype(np.int32)
    scores = -np.sort(-rng.random((count, 10)).astype(np.float32), axis=1)
    for row, length in enumerate(rng.integers(1, 11, count)):
        ids[row, length:], scores[row, length:] = -1, np.nan
    return RankRows(
        queries=np.stack([rng.integers(0, 12, count), rng.integers(0, 6, count), rng.integers(0, 12, count)], axis=1),
        ranks=rng.integers(2, 20, count) / 2,
        scores=rng.random(count).astype(np.float32),
        top_ids=ids,
        top_scores=scores,
        reranked=rng.integers(2, 20, count) / 2 if reranked else None,
    )


@pytest.mark.parametrize("reranked", [False, True])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_read_back_equal(tmp_path: Path, count: int, reranked: bool) -> None:
    rows, path = some_rows(count, reranked=reranked), tmp_path / "new" / "ranks.parquet"
    write_ranks(path, rows, **GRAPH)
    found = read_ranks(path, **GRAPH)
    for field in fields(RankRows):
        before, after = getattr(rows, field.name), getattr(found, field.name)
        np.testing.assert_array_equal(before, after, err_msg=field.name)
        assert before is None or before.dtype == after.dtype
    assert [entry.name for entry in path.parent.iterdir()] == ["ranks.parquet"]


def test_rows_say_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "ranks.parquet"
    rows = RankRows(
        queries=np.array([[4, 1, 7], [7, 4, 4]]),
        ranks=np.array([1.0, 2.5]),
        scores=np.array([0.5, 0.25], np.float32),
        top_ids=np.array([[7, 2], [3, -1]], np.int32),
        top_scores=np.array([[0.5, 0.25], [0.25, np.nan]], np.float32),
    )
    write_ranks(path, rows, **GRAPH)
    first, second = read_ranks_table(path).to_pylist()
    assert second == {
        "query": 1,
        "direction": "backward",
        "head": "/m/07é",
        "relation": "r1",
        "answer": "/m/04é",
        "rank": 2.5,
        "score": 0.25,
        "top_ids": ["/m/03é"],
        "top_scores": [0.25],
        "reranked_rank": None,
    }
    assert first["direction"] == "forward"
    assert first["top_ids"] == ["/m/07é", "/m/02é"]


def test_strings_are_dictionary_encoded(tmp_path: Path) -> None:
    path = tmp_path / "ranks.parquet"
    write_ranks(path, some_rows(400, reranked=True), **GRAPH)
    group = pq.ParquetFile(path).metadata.row_group(0)
    words = ("direction", "head", "relation", "answer", "top_ids.list.element")
    encoded = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}
    assert all("RLE_DICTIONARY" in encoded[name] for name in words)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ranks.parquet"
    write_ranks(path, some_rows(3, reranked=False), **GRAPH)
    before = path.read_bytes()

    def full(table: object, where: Path, **_: object) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StorageError, match="No space left"):
        write_ranks(path, some_rows(5, reranked=False), **GRAPH)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranks.parquet"
    write_ranks(path, some_rows(100, reranked=False), **GRAPH)
    with pytest.raises(UserError, match="the graph lacks"):
        read_ranks(path, **(GRAPH | {"entity_ids": GRAPH["entity_ids"][:5]}))
    with pytest.raises(UserError, match="the graph lacks"):
        read_ranks(path, **(GRAPH | {"relation_ids": ["r0", "r1"]}))
    with pytest.raises(UserError, match="cannot be read"):
        read_ranks(tmp_path / "absent.parquet", **GRAPH)
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(UserError, match="cannot be read"):
        read_ranks(path, **GRAPH)
    pq.write_table(pa.table({"rank": [1.0]}), path)
    with pytest.raises(UserError, match="no ranks file"):
        read_ranks(path, **GRAPH)
