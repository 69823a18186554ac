"""SimKGC's neighbour re-ranking: which candidates lie near the head of a query in the training graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.neighbours import neighbour_lists, within_hops
from pmd_ray.spec.ragged import Ragged, offsets_of


class NearHeads:
    """The entities near the head of each query, made for the asked queries and remembered by head.

    A head's entities are kept as a list or as one bit for each entity, whichever is smaller: two hops cover much of
    FB15k-237, and lists for all its queries would take gigabytes.
    """

    def __init__(self, neighbours: Ragged, heads: NDArray[np.integer], hops: int) -> None:
        self._neighbours, self._heads, self._hops = neighbours, np.asarray(heads, dtype=np.int64), hops
        self._bits: dict[int, NDArray[np.uint8]] = {}
        self._lists: dict[int, NDArray[np.int32]] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """The entities near the heads of the named queries, rising; each head is among its own."""
        near = [self._near(int(head)) for head in self._heads[rows]]
        lengths = np.fromiter((len(entities) for entities in near), dtype=np.int64, count=len(near))
        return Ragged(np.concatenate([np.empty(0, np.int32), *near]), offsets_of(lengths))

    def _near(self, head: int) -> NDArray[np.int32]:
        entities = len(self._neighbours)
        if head in self._lists:
            return self._lists[head]
        if head in self._bits:
            return np.flatnonzero(np.unpackbits(self._bits[head], count=entities)).astype(np.int32)
        found = within_hops(self._neighbours, head, self._hops).astype(np.int32)
        if found.nbytes <= entities // 8:
            self._lists[head] = found
        else:
            near = np.zeros(entities, dtype=np.bool_)
            near[found] = True
            self._bits[head] = np.packbits(near)
        return found


def rerank_bonus(graph: Graph, heads: NDArray[np.integer], hops: int) -> NearHeads:
    """For each query [Q] the candidates that gain the weight of `RerankConfig`: at most `hops` edges from its head.

    As in SimKGC (rerank.py, triplet.py `get_n_hop_entity_indices`): edges of the training split in both directions,
    the head itself included, one weight whatever the distance and number of paths, added to the cosine before known
    answers are filtered. One difference: SimKGC gives no bonus at all to a query whose head has more than 100,000
    entities within reach (Wikidata5M); here it does.

    Args:
        graph: Its training split gives the edges.
        heads: [Q] entity numbers, of both directions (a backward query's head is the triple's tail).
        hops: At least 1.
    """
    return NearHeads(neighbour_lists(graph), heads, hops)
