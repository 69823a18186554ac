"""Known triples and tails equal look-ups in a set."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.known import KnownTails, true_negatives, with_inverses
from pmd_ray.kg.load import load_graph

ENTITIES, RELATIONS = 7, 3
TRIPLES = st.lists(
    st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1), st.integers(0, ENTITIES - 1)),
    unique=True,
    max_size=25,
)


def graph_of(train: list, valid: list) -> Graph:
    ids = tuple(f"e{number}" for number in range(ENTITIES))
    names = tuple(f"r{number}" for number in range(RELATIONS))
    train_array, valid_array = (np.array(part, dtype=np.int32).reshape(-1, 3) for part in (train, valid))
    return Graph(
        name="small",
        entity_ids=ids,
        entity_names=ids,
        entity_descriptions=("",) * ENTITIES,
        relation_ids=names,
        relation_texts=names,
        train=train_array,
        valid=valid_array,
        test=valid_array[:0],
        fingerprint="",
    )


def plain_tails(triples: list, head: int, relation: int) -> list[int]:
    forward = {t for h, r, t in triples if (h, r) == (head, relation)}
    backward = {h for h, r, t in triples if (t, r + RELATIONS) == (head, relation)}
    return sorted(forward | backward)


@given(TRIPLES.filter(bool), TRIPLES)
def test_tails_and_contains(train: list, valid: list) -> None:
    graph = graph_of(train, valid)
    known = KnownTails(graph, graph.train, graph.valid)
    heads, relations = (part.ravel() for part in np.mgrid[:ENTITIES, : 2 * RELATIONS])
    found = known.tails(heads, relations)
    assert known.num_queries == len(heads)
    assert len(found) == len(heads)
    for row, (head, relation) in enumerate(zip(heads.tolist(), relations.tolist(), strict=True)):
        assert found[row].tolist() == plain_tails(train + valid, head, relation)
        held = known.contains(heads[row], relations[row], np.arange(ENTITIES))
        assert np.flatnonzero(held).tolist() == found[row].tolist()


@given(TRIPLES)
def test_with_inverses(triples: list) -> None:
    array = np.array(triples, dtype=np.int32).reshape(-1, 3)
    doubled = [row for h, r, t in triples for row in ([h, r, t], [t, r + RELATIONS, h])]
    assert with_inverses(array, RELATIONS).tolist() == doubled


def test_true_negatives_hold_little_beside_the_answer() -> None:
    graph = graph_of([(head, 0, (head + 1) % ENTITIES) for head in range(ENTITIES)], [])
    heads = np.arange(600) % ENTITIES
    known, queries = KnownTails(graph, graph.train), np.stack([heads, heads * 0, heads], axis=1)
    tracemalloc.start()
    found = true_negatives(known, queries, queries[:, 2])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (600, 600) and peak < 4 * found.nbytes


@settings(deadline=None)
@given(TRIPLES.filter(bool), st.lists(st.integers(0, ENTITIES - 1), min_size=1, max_size=9))
def test_true_negatives(train: list, candidates: list[int]) -> None:
    graph = graph_of(train, [])
    queries = with_inverses(graph.train, RELATIONS)
    # One query whose answer the training split does not hold: it is no negative of itself.
    queries = np.concatenate([queries, [[0, 0, 6]]])
    found = true_negatives(KnownTails(graph, graph.train), queries, np.array(candidates))
    for row, (head, relation, answer) in enumerate(queries.tolist()):
        tails = plain_tails(train, head, relation)
        assert found[row].tolist() == [tail not in tails and tail != answer for tail in candidates]


def test_large_numbers_do_not_overflow() -> None:
    """Keys of Wikidata5M pass 2^31 and int32 triples must be widened first."""
    entities = 4_600_000
    big = Graph(
        name="big",
        entity_ids=("e",) * entities,
        entity_names=(),
        entity_descriptions=(),
        relation_ids=("r",) * 822,
        relation_texts=(),
        train=np.array([[entities - 1, 821, entities - 2]], dtype=np.int32),
        valid=np.empty((0, 3), np.int32),
        test=np.empty((0, 3), np.int32),
        fingerprint="",
    )
    known = KnownTails(big, big.train)
    heads = np.array([entities - 1, entities - 2, 0], dtype=np.int32)
    relations = np.array([821, 2 * 822 - 1, 0], dtype=np.int32)
    found = known.tails(heads, relations)
    assert [found[row].tolist() for row in range(3)] == [[entities - 2], [entities - 1], []]
    tails = np.array([entities - 2, entities - 1, 0], dtype=np.int32)
    assert known.contains(heads, relations, tails).tolist() == [True, True, False]


def test_umls(shared_data: Path) -> None:
    graph = load_graph(shared_data / "UMLS")
    triples = {tuple(row) for split in (graph.train, graph.valid, graph.test) for row in split.tolist()}
    known = KnownTails(graph, graph.train, graph.valid, graph.test)
    queries = with_inverses(graph.test, graph.num_relations)
    found = known.tails(queries[:, 0], queries[:, 1])
    assert known.contains(*queries.T).all()
    for row in range(0, len(queries), 20):
        head, relation, _ = queries[row].tolist()
        if relation < graph.num_relations:
            expected = {t for h, r, t in triples if (h, r) == (head, relation)}
        else:
            expected = {h for h, r, t in triples if (t, r + graph.num_relations) == (head, relation)}
        assert set(found[row].tolist()) == expected
