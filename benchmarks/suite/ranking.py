"""Filtered ranking of the test split over all entities, against a sort of every query's scores and the product alone.

Vectors are random and of the encoder's width, queries near their answers, so that ranks are spread as a model's are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.clock import interleaved
from benchmarks.inputs import Asked
from benchmarks.limit import Rate
from benchmarks.record import Case
from benchmarks.released.beside import triples_of
from benchmarks.released.evaluation import ranks
from benchmarks.released.examples import KnownLinks
from pmd_ray.kg.graph import Graph
from pmd_ray.kg.known import with_inverses
from pmd_ray.model.products import inner_products
from pmd_ray.model.ranking import rank_queries
from pmd_ray.spec.chunks import RANKED
from pmd_ray.spec.ragged import Ints
from pmd_ray.train.evaluate import known_of

BLOCK = RANKED["cpu"]
"""Queries and entities of a product: as the product has them, whose rate few others reach."""


def vectors(graph: Graph, answers: Ints, width: int) -> tuple[Tensor, Tensor]:
    """[P, D] queries, each near one of its answers [P], and [E, D] entities, unit vectors."""
    random = torch.Generator().manual_seed(0)
    entities = normalize(torch.randn(graph.num_entities, width, generator=random) + 0.6, dim=1)
    noise = normalize(torch.randn(len(answers), width, generator=random), dim=1)
    noise *= torch.rand(len(answers), 1, generator=random) * 8
    return normalize(entities[torch.as_tensor(answers)] + noise, dim=1), entities


def cases(asked: Asked) -> Iterator[Case]:
    """All test queries, or the first few of them."""
    shop = asked.shop(asked.chain("WN18RR", layers=[6]))
    every = with_inverses(shop.graph.test, shop.graph.num_relations)
    for count in asked.sizes((len(every),), (256,)):
        if asked.wants("ranking"):
            yield one(shop.graph, every[:count], shop.source.width, asked.repeat)


def one(graph: Graph, queries: Ints, width: int, repeat: int) -> Case:
    """Some queries over all entities."""
    _, first, asked = np.unique(queries[:, :2], axis=0, return_index=True, return_inverse=True)
    queries_PD, entities_ED = vectors(graph, queries[first, 2], width)
    queries_QD = queries_PD[torch.as_tensor(asked.reshape(-1))]
    triples, links = triples_of(queries), KnownLinks(graph, graph.train, graph.valid, graph.test)
    known = known_of(graph)
    block = torch.empty(BLOCK)

    def ours(number: int) -> None:
        lists = known.tails(queries[:, 0], queries[:, 1])
        rank_queries(queries_PD, entities_ED, queries[:, 2], lists, asked_Q=asked.reshape(-1))

    def plain(number: int) -> None:
        ranks(queries_QD, entities_ED, triples, links)

    def product(number: int) -> None:
        for rows in torch.split(queries_PD, BLOCK[0]):
            for columns in torch.split(entities_ED, BLOCK[1]):
                inner_products(rows, columns, room_TO=block[: len(rows), : len(columns)])

    rate = Rate()
    times = interleaved({"ours": ours, "plain": plain, "product": product, "rate": rate.measure}, repeat)
    return Case(
        name="ranking",
        data=graph.name,
        batch=len(queries),
        ours_cpu_s=times["ours"].seconds,
        plain_cpu_s=times["plain"].seconds,
        limit_cpu_s=times["product"].seconds,
        more={
            "different_queries": len(queries_PD),
            "entities": graph.num_entities,
            "width": width,
            "at_the_rate_of_a_large_product_s": rate.seconds(2.0 * len(queries_PD) * len(entities_ED) * width),
            "repeat": repeat,
        },
    )
