"""Neighbour lists of the training graph: for texts (the first few by id) and for re-ranking (whole)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pmd_ray.kg.graph import Graph
from pmd_ray.spec.ragged import Ragged, offsets_of


def neighbour_lists(graph: Graph, *, at_most: int | None = None) -> Ragged:
    """For each entity its distinct neighbours in the training graph, both directions, sorted by entity id.

    Sorting is by the id's text, as in SimKGC, which keeps the first 10.
    """
    place_of = np.empty(graph.num_entities, dtype=np.int64)
    order = np.array(sorted(range(graph.num_entities), key=graph.entity_ids.__getitem__), dtype=np.int64)
    place_of[order] = np.arange(graph.num_entities)
    heads, tails = graph.train[:, 0].astype(np.int64), graph.train[:, 2].astype(np.int64)
    sources, targets = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    pairs = np.unique(sources * graph.num_entities + place_of[targets])
    sources, targets = pairs // graph.num_entities, order[pairs % graph.num_entities]
    lists = Ragged(targets.astype(np.int32), offsets_of(np.bincount(sources, minlength=graph.num_entities)))
    if at_most is None:
        return lists
    return lists.take(np.arange(graph.num_entities), np.full(graph.num_entities, at_most, dtype=np.int64))


def within_hops(neighbours: Ragged, start: int, hops: int) -> NDArray[np.int64]:
    """Entities at most `hops` edges away from `start`, itself included, sorted."""
    # Marks instead of set operations: sorting the reached entities anew for each hop took ten times as long.
    seen = np.zeros(len(neighbours), dtype=bool)
    seen[start] = True
    frontier = np.array([start], dtype=np.int64)
    for _ in range(hops):
        reached = neighbours.take(frontier).values
        fresh = np.zeros(len(neighbours), dtype=bool)
        fresh[reached] = True
        fresh &= ~seen
        frontier = np.flatnonzero(fresh)
        if not len(frontier):
            break
        seen |= fresh
    return np.flatnonzero(seen)
