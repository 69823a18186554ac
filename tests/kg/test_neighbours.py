"""Neighbour lists and hops equal walks over a dictionary of edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.neighbours import neighbour_lists, within_hops

ENTITIES = 9
PAIRS = st.lists(st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, ENTITIES - 1)), max_size=20)
IDS = st.lists(st.text(min_size=1, max_size=3), min_size=ENTITIES, max_size=ENTITIES, unique=True)


def graph_of(pairs: list[tuple[int, int]], ids: list[str]) -> Graph:
    none = np.empty((0, 3), np.int32)
    train = np.array([(head, 0, tail) for head, tail in pairs], dtype=np.int32).reshape(-1, 3)
    names = tuple(ids)
    empty = ("",) * ENTITIES
    return Graph(
        name="small",
        entity_ids=names,
        entity_names=names,
        entity_descriptions=empty,
        relation_ids=("r",),
        relation_texts=("r",),
        train=train,
        valid=none,
        test=none,
        fingerprint="",
    )


def edges_of(pairs: list[tuple[int, int]]) -> dict[int, set[int]]:
    edges: dict[int, set[int]] = {entity: set() for entity in range(ENTITIES)}
    for head, tail in pairs:
        edges[head].add(tail)
        edges[tail].add(head)
    return edges


@given(PAIRS, IDS, st.integers(0, 4))
def test_lists_hold_neighbours_by_id(pairs: list, ids: list[str], at_most: int) -> None:
    edges = edges_of(pairs)
    whole, cut = neighbour_lists(graph_of(pairs, ids)), neighbour_lists(graph_of(pairs, ids), at_most=at_most)
    for entity in range(ENTITIES):
        expected = sorted(edges[entity], key=ids.__getitem__)
        assert whole[entity].tolist() == expected
        assert cut[entity].tolist() == expected[:at_most]


@given(PAIRS, st.integers(0, ENTITIES - 1), st.integers(0, 5))
def test_within_hops(pairs: list, start: int, hops: int) -> None:
    edges, reached = edges_of(pairs), {start}
    for _ in range(hops):
        reached |= {other for entity in reached for other in edges[entity]}
    lists = neighbour_lists(graph_of(pairs, [str(number) for number in range(ENTITIES)]))
    assert within_hops(lists, start, hops).tolist() == sorted(reached)


def test_only_the_training_split_counts() -> None:
    graph = graph_of([(0, 1)], [str(number) for number in range(ENTITIES)])
    other = np.array([[0, 0, 2]], dtype=np.int32)
    assert neighbour_lists(replace(graph, valid=other, test=other))[0].tolist() == [1]
