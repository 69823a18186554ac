"""Encoding entities and test queries for a ranking, tokens included, against batches in the order they come.

The released code encodes a query's tail and head with it. The limit is that of the distinct texts' tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.clock import Clock, Phases, interleaved
from benchmarks.inputs import Asked
from benchmarks.limit import Rate
from benchmarks.product import ALONE, untrained
from benchmarks.record import Case, shares
from benchmarks.released.beside import maker_of, towers_of, triples_of
from benchmarks.released.evaluation import entity_vectors, query_vectors
from benchmarks.released.examples import Maker
from pmd_ray.kg.known import with_inverses
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.operations import forward_operations
from pmd_ray.spec.ragged import Ints, TokenRows
from pmd_ray.train.evaluate import encode_all
from pmd_ray.train.workshop import Workshop

LAYERS = 3


def cases(asked: Asked) -> Iterator[Case]:
    """Entities, then queries; `batch` is how many of them, evenly drawn from all."""
    chain = asked.chain("WN18RR", layers=[LAYERS])
    shop = asked.shop(chain)
    model = untrained(chain, shop).eval()
    for kind, one in (("entities", _entities), ("queries", _queries)):
        for count in asked.sizes((1024, 4096), (32,)):
            if asked.wants(f"encode: {kind}"):
                yield one(shop, model, count, asked.repeat)


def _entities(shop: Workshop, model: BiEncoder, count: int, repeat: int) -> Case:
    numbers = _evenly(shop.graph.num_entities, count)
    plain = partial(entity_vectors, towers_of(model), _maker(shop), numbers.tolist())

    def rows_of(places: Ints) -> TokenRows:
        return shop.texts.entity_rows(numbers[places])

    found = len(numbers)
    return _measured("entities", plain, rows_of, texts=found, count=found, shop=shop, model=model, repeat=repeat)


def _queries(shop: Workshop, model: BiEncoder, count: int, repeat: int) -> Case:
    every = with_inverses(shop.graph.test, shop.graph.num_relations)
    queries = every[_evenly(len(every), count)]
    distinct = np.unique(queries[:, :2], axis=0)
    plain = partial(query_vectors, towers_of(model), _maker(shop), triples_of(queries))

    def rows_of(places: Ints) -> TokenRows:
        return shop.texts.query_rows(distinct[places, 0], distinct[places, 1])

    return _measured(
        "queries", plain, rows_of, texts=len(distinct), count=len(queries), shop=shop, model=model, repeat=repeat
    )


def _maker(shop: Workshop) -> Maker:
    return maker_of(shop.texts, shop.source.wordpieces, training=False)


def _measured(
    kind: str,
    plain: Callable[[Clock], Any],
    rows_of: Callable[[Ints], TokenRows],
    *,
    texts: int,
    count: int,
    shop: Workshop,
    model: BiEncoder,
    repeat: int,
) -> Case:
    """Ours and the released code's in turns.

    Args:
        rows_of: The distinct texts, of which there are `texts`; `count` with repeats.
    """
    tower = "tail" if kind == "entities" else "hr"
    rate = Rate()

    def ours(number: int) -> None:
        encode_all(model, tower, rows_of, texts, workers=ALONE)

    def theirs(number: int) -> Phases:
        clock = Clock()
        plain(clock)
        return clock.take()

    times = interleaved({"ours": ours, "plain": theirs, "rate": rate.measure}, repeat)
    lengths = rows_of(np.arange(texts)).ids.lengths
    return Case(
        name=f"encode: {kind}",
        data=shop.graph.name,
        batch=count,
        ours_cpu_s=times["ours"].seconds,
        plain_cpu_s=times["plain"].seconds,
        limit_cpu_s=rate.seconds(forward_operations(lengths, model.config, model.layers)),
        more={
            "plain_shares": shares(times["plain"].phases),
            "distinct_texts": texts,
            "needed_tokens": int(lengths.sum()),
            "gflops_a_cpu_s": rate.per_second / 1e9,
            "repeat": repeat,
        },
    )


def _evenly(total: int, count: int) -> Ints:
    """Up to `count` of so many numbers, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
