"""Every query of every chain in one table: from it all figures can be made again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pmd_ray.report.arms import Arm
from pmd_ray.report.evidence import Evidence
from pmd_ray.report.lines import Line
from pmd_ray.report.measures import Floats
from pmd_ray.train.ranks_file import DIRECTIONS

WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("variant", WORD),
        ("arm", WORD),
        ("seed", pa.int64()),
        ("grade", WORD),
        ("direction", WORD),
        ("head", WORD),
        ("relation", WORD),
        ("answer", WORD),
        ("rank", pa.float64()),
    ]
)
"""Ids as asked: a backward query has the triple's tail as `head`, its head as `answer`."""


def queries_table(arms: Sequence[Arm], evidence: Evidence) -> pa.Table:
    """The queries of all seeds that count; a stage that several variants use stands under each of them."""
    triples = evidence.triples
    if triples is None:
        return SCHEMA.empty_table()
    asked = _asked(triples)
    parts = [
        _of_stage(line, seed, asked, evidence.stages[line.keys[seed]].ranks.ranks_T2.reshape(-1))
        for arm in arms
        for line in arm.chain.lines
        for seed in line.seeds
    ]
    return pa.concat_tables(parts).unify_dictionaries() if parts else SCHEMA.empty_table()


def _asked(triples: pa.Table) -> dict[str, pa.Array]:
    """The columns that are the same for every stage: triple 0 forward, triple 0 backward, triple 1 forward, ..."""
    count = len(triples)
    turned = pa.array(np.arange(2 * count).reshape(2, count).T.reshape(-1))
    head, relation, tail = (triples[name].combine_chunks() for name in ("head", "relation", "tail"))

    def interleaved(forward: pa.Array, backward: pa.Array) -> pa.Array:
        return pa.chunked_array([forward, backward]).take(turned).combine_chunks().dictionary_encode().cast(WORD)

    return {
        "direction": pa.DictionaryArray.from_arrays(pa.array(np.arange(2 * count, dtype=np.int32) % 2), DIRECTIONS),
        "head": interleaved(head, tail),
        "relation": interleaved(relation, relation),
        "answer": interleaved(tail, head),
    }


def _of_stage(line: Line, seed: int, asked: dict[str, pa.Array], ranks: Floats) -> pa.Table:
    same = np.zeros(len(ranks), dtype=np.int32)
    words = {"variant": line.variant, "arm": line.arm, "grade": line.grade}
    columns = {
        **{name: pa.DictionaryArray.from_arrays(pa.array(same), [word]) for name, word in words.items()},
        **asked,
        "seed": pa.array(np.full(len(ranks), seed, dtype=np.int64)),
        "rank": pa.array(ranks, pa.float64()),
    }
    return pa.table({field.name: columns[field.name] for field in SCHEMA}, schema=SCHEMA)
