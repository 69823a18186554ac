"""The test ranks of one stage by triple, without the lists of candidates beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pmd_ray.report.measures import Floats
from pmd_ray.spec.errors import UserError
from pmd_ray.train.ranks_file import DIRECTIONS, FORMAT

READ = ["direction", "head", "relation", "answer", "rank"]


@dataclass(frozen=True, kw_only=True)
class TripleRanks:
    """Ranks of every test triple in both directions."""

    triples: pa.Table
    """[T] `head`, `relation`, `tail`: ids as words."""
    ranks_T2: Floats
    """Rank of the tail (forward), rank of the head (backward)."""


def read_triple_ranks(file: BinaryIO) -> TripleRanks:
    """Read what `train.ranks_file` wrote: rows 2i and 2i + 1 are the two directions of triple i.

    Raises:
        UserError: It is no such file.
        OSError, ArrowException: It cannot be read.
    """
    parquet = pq.ParquetFile(file)
    if (parquet.schema_arrow.metadata or {}).get(b"format") != FORMAT:
        raise UserError("its test ranks are no ranks file of this version")
    table = parquet.read(columns=READ)
    directions = np.asarray(table["direction"].cast(pa.string()).to_pylist(), dtype=object)
    words = {name: table[name].cast(pa.string()) for name in ("head", "relation", "answer")}
    pairs_fit = (
        len(table) % 2 == 0
        and len(table) > 0
        and bool((directions[0::2] == DIRECTIONS[0]).all() and (directions[1::2] == DIRECTIONS[1]).all())
        and _every_other(words["answer"], 0).equals(_every_other(words["head"], 1))
    )
    if not pairs_fit:
        raise UserError("its test ranks are not two directions of each triple, one after the other")
    triples = pa.table(
        {
            "head": _every_other(words["head"], 0),
            "relation": _every_other(words["relation"], 0),
            "tail": _every_other(words["answer"], 0),
        }
    )
    return TripleRanks(triples=triples, ranks_T2=table["rank"].to_numpy().reshape(-1, 2))


def _every_other(column: pa.ChunkedArray, start: int) -> pa.ChunkedArray:
    return column.take(pa.array(np.arange(start, len(column), 2)))
