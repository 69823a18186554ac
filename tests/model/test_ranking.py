"""Counted ranks equal a plain loop over pairs, to the last bit, whatever the block sizes and the ties."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.known import KnownTails, with_inverses
from pmd_ray.kg.load import load_graph
from pmd_ray.model.exact_scores import ExactScores
from pmd_ray.model.ranking import Ranks, rank_queries
from pmd_ray.model.top_list import TopLists
from pmd_ray.spec.ragged import Ragged

CHUNKS = (1, 7, 64, 10**6)


def exact(query: np.ndarray, entity: np.ndarray) -> Fraction:
    return _exact(tuple(query.tolist()), tuple(entity.tolist()))


@cache
def _exact(query: tuple[float, ...], entity: tuple[float, ...]) -> Fraction:
    return sum((Fraction(a) * Fraction(b) for a, b in zip(query, entity, strict=True)), Fraction(0))


def plain_ranks(queries, entities, answers, known, *, ties="mean", bonus=None, weight=0.0) -> list[float]:
    """Pair by pair, in rational numbers; sorts nothing."""
    ranks = []
    for number, answer in enumerate(answers):
        lifted = set() if bonus is None else set(bonus[number].tolist())
        scores = [
            exact(queries[number], entity) + Fraction(weight) * (e in lifted) for e, entity in enumerate(entities)
        ]
        rank = 1.0
        for entity, score in enumerate(scores):
            if entity == answer or entity in known[number]:
                continue
            if score > scores[answer]:
                rank += 1
            elif score == scores[answer]:
                rank += 0.5 if ties == "mean" else float(entity < answer)
        ranks.append(rank)
    return ranks


def plain_top(query, entities, answer, known, top=10) -> list[int]:
    """The best candidates, taken one after the other."""
    left = [entity for entity in range(len(entities)) if entity == answer or entity not in known]
    found = []
    while left and len(found) < top:
        best = left[0]
        for entity in left[1:]:
            if exact(query, entities[entity]) > exact(query, entities[best]):
                best = entity
        found.append(best)
        left.remove(best)
    return found + [-1] * (top - len(found))


def rank(queries, entities, answers, known: Ragged, **options) -> Ranks:
    return rank_queries(torch.as_tensor(queries), torch.as_tensor(entities), np.asarray(answers), known, **options)


def unit(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    vectors = rng.standard_normal((count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def assert_equal(one: Ranks, other: Ranks) -> None:
    for name in ("ranks", "scores", "top_ids", "top_scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@st.composite
def problems(draw):
    """Small vectors of few values, so that scores tie often, with copies of entities."""
    width, count, distinct = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 40))
    vectors = st.lists(st.integers(-2, 2), min_size=width, max_size=width)
    some = np.array(draw(st.lists(vectors, min_size=distinct, max_size=distinct)), dtype=np.float32)
    entities = some[draw(st.lists(st.integers(0, distinct - 1), min_size=1, max_size=90))]
    queries = np.array(draw(st.lists(vectors, min_size=count, max_size=count)), dtype=np.float32)
    number = st.integers(0, len(entities) - 1)
    answers = draw(st.lists(number, min_size=count, max_size=count))
    rows = st.lists(st.lists(number, max_size=20), min_size=count, max_size=count)
    return queries, entities, answers, Ragged.of(draw(rows)), Ragged.of(draw(rows))


@settings(max_examples=60, deadline=None)
@given(problems(), st.sampled_from(CHUNKS), st.sampled_from(CHUNKS), st.sampled_from(["mean", "sorted"]))
def test_ranks_equal_a_plain_loop(problem, chunk_queries, chunk_entities, ties) -> None:
    queries, entities, answers, known, bonus = problem
    chunks = {"chunk_queries": chunk_queries, "chunk_entities": chunk_entities}
    found = rank(queries, entities, answers, known, ties=ties, **chunks)
    assert found.ranks.tolist() == plain_ranks(queries, entities, answers, known, ties=ties)
    for row, answer in enumerate(answers):
        ids = plain_top(queries[row], entities, answer, known[row])
        assert found.top_ids[row].tolist() == ids
        scores = [float(exact(queries[row], entities[e])) if e >= 0 else np.nan for e in ids]
        np.testing.assert_array_equal(found.top_scores[row], np.array(scores, np.float32))
        assert found.scores[row] == float(exact(queries[row], entities[answer]))
    lifted = rank(queries, entities, answers, known, ties=ties, bonus=bonus, bonus_weight=0.75, **chunks)
    plain = plain_ranks(queries, entities, answers, known, ties=ties, bonus=bonus, weight=0.75)
    assert lifted.ranks.tolist() == plain


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize(("count", "entities"), [(1, 1), (1, 150), (70, 1), (40, 300)])
def test_blocks_change_no_bit(count: int, entities: int, copies: int) -> None:
    rng = np.random.default_rng(count + entities)
    vectors = np.repeat(unit(rng, entities, 48), copies, axis=0)[rng.permutation(entities * copies)]
    answers = rng.integers(0, len(vectors), count)
    queries = vectors[answers] + unit(rng, count, 48)
    known = Ragged.of([rng.integers(0, len(vectors), 5).tolist() for _ in range(count)])
    whole = rank(queries, vectors, answers, known)
    for chunk in (1, 7, 64):
        if count * entities * copies // chunk**2 < 600:
            assert_equal(whole, rank(queries, vectors, answers, known, chunk_queries=chunk, chunk_entities=chunk))
    assert_equal(whole, rank(queries, vectors, answers, known, chunk_queries=13, chunk_entities=1024))


@settings(max_examples=60, deadline=None)
@given(problems(), st.sampled_from(CHUNKS), st.sampled_from(CHUNKS), st.randoms(use_true_random=False))
def test_a_query_asked_often_is_multiplied_once(problem, chunk_queries, chunk_entities, luck) -> None:
    """And ranked as if each triple had brought a vector of its own."""
    queries, entities, answers, known, bonus = problem
    chunks = {"chunk_queries": chunk_queries, "chunk_entities": chunk_entities}
    asked = np.array([luck.randrange(len(queries)) for _ in answers])
    for options in ({}, {"bonus": bonus, "bonus_weight": 0.75}):
        once = rank(queries, entities, answers, known, asked_Q=asked, **chunks, **options)
        assert_equal(once, rank(queries[asked], entities, answers, known, **chunks, **options))


def test_vectors_that_nobody_has_are_refused() -> None:
    some = np.eye(3, dtype=np.float32)
    for asked in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match="from 0 to 2"):
            rank(some, some, [0, 1], Ragged.of([[], []]), asked_Q=np.array(asked))


def test_equal_vectors_tie_exactly() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng, 3000, 384)
    entities = np.concatenate([vectors, vectors[::-1]])
    answers = rng.integers(0, 3000, 50)
    queries = vectors[answers] + 0.05 * rng.standard_normal((50, 384)).astype(np.float32)
    found = rank(queries, entities, answers, Ragged.of([[]] * 50), chunk_entities=1000)
    assert (found.ranks % 1 == 0.5).all()
    np.testing.assert_array_equal(found.top_scores[:, 0::2], found.top_scores[:, 1::2])
    np.testing.assert_array_equal(found.top_ids[:, 0] + found.top_ids[:, 1], 5999)


def test_a_constant_model_gets_the_mean_rank() -> None:
    """The released code gives it what an unstable sort happens to give (method.md, C24)."""
    entities = np.full((3001, 32), 0.1767767, dtype=np.float32)
    known = Ragged.of([[], [1, 2, 3, 4], [5]])
    found = rank(entities[:3], entities, [0, 4, 3000], known, chunk_entities=1000)
    assert found.ranks.tolist() == [1501.0, 1501.0 - 1.5, 1501.0 - 0.5]
    assert found.top_ids[1].tolist() == [0, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    first = rank(entities[:3], entities, [0, 4, 3000], known, chunk_entities=1000, ties="sorted")
    assert first.ranks.tolist() == [1.0, 2.0, 3000.0]


def test_a_collapsed_model_is_ranked_exactly() -> None:
    """Scores that differ by less than float32 resolves are still told apart."""
    rng = np.random.default_rng(3)
    base = unit(rng, 1, 64)
    entities = base + (2.0**-24 * rng.integers(-3, 4, (200, 64))).astype(np.float32)
    answers = rng.integers(0, 200, 4)
    queries = entities[rng.integers(0, 200, 4)]
    steps = [np.round(part.astype(np.float64) * 2**26) / 2**26 for part in (queries, entities)]
    expected = plain_ranks(*steps, answers, Ragged.of([[1, 2]] * 4))
    assert rank(queries, entities, answers, Ragged.of([[1, 2]] * 4)).ranks.tolist() == expected


def test_the_order_of_entities_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    entities = np.repeat(unit(rng, 400, 16), 2, axis=0)
    queries, answers = unit(rng, 30, 16), rng.integers(0, 800, 30)
    known = [rng.integers(0, 800, 30).tolist() for _ in range(30)]
    place = rng.permutation(800)
    moved = np.empty_like(entities)
    moved[place] = entities
    there = rank(queries, moved, place[answers], Ragged.of([place[row].tolist() for row in known]), chunk_entities=100)
    here = rank(queries, entities, answers, Ragged.of(known), chunk_entities=100)
    np.testing.assert_array_equal(here.ranks, there.ranks)
    np.testing.assert_array_equal(here.scores, there.scores)
    np.testing.assert_array_equal(here.top_scores, there.top_scores)


def umls(shared_data: Path) -> tuple[Graph, np.ndarray, Ragged]:
    graph = load_graph(shared_data / "UMLS")
    queries = with_inverses(graph.test, graph.num_relations)
    return graph, queries, KnownTails(graph, graph.train, graph.valid, graph.test).tails(queries[:, 0], queries[:, 1])


def test_umls_with_random_vectors(shared_data: Path) -> None:
    graph, queries, known = umls(shared_data)
    rng = np.random.default_rng(2)
    vectors, asked = unit(rng, graph.num_entities, 8), unit(rng, len(queries), 8)
    some = rng.choice(len(queries), 12, replace=False)
    found = rank(asked, vectors, queries[:, 2], known, chunk_queries=100, chunk_entities=50)
    steps = [np.round(part.astype(np.float64) * 2**26) / 2**26 for part in (asked[some], vectors)]
    expected = plain_ranks(*steps, queries[some, 2], known.take(some))
    assert found.ranks[some].tolist() == expected
    for row in range(len(queries)):
        others = set(known[row].tolist()) - {int(queries[row, 2])}
        assert others.isdisjoint(found.top_ids[row].tolist())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**32), st.sampled_from([1.0, 3e-5, 700.0]))
def test_exact_scores_do_not_depend_on_the_order_of_the_sum(width: int, seed: int, length: float) -> None:
    rng = np.random.default_rng(seed)
    queries, entities = unit(rng, 3, width), length * unit(rng, 9, width)
    order = rng.permutation(width)
    scores = ExactScores(torch.as_tensor(queries), torch.as_tensor(entities))
    shuffled = ExactScores(torch.as_tensor(queries[:, order]), torch.as_tensor(entities[:, order]))
    block = scores.exact(torch.arange(3), slice(0, 9))
    assert torch.equal(block, shuffled.exact(torch.arange(3), slice(0, 9)))
    rows, columns = torch.arange(27) // 9, torch.arange(27) % 9
    assert torch.equal(block.flatten(), scores.exact_pairs(rows, columns))
    rows = scores.queries(torch.arange(3))
    rough = scores.rough(rows, slice(0, 9), torch.empty(len(rows), 32))
    assert float((rough[:3, :9].double() - block).abs().max()) <= scores.error() and rough[:, 9:].isneginf().all()
    true = queries.astype(np.float64) @ entities.astype(np.float64).T
    np.testing.assert_allclose(block.numpy(), true, atol=2e-8 * np.sqrt(width) * length)


def test_autocast_and_fast_matmul_around_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    queries, entities, answers = unit(rng, 20, 64), unit(rng, 2000, 64), rng.integers(0, 2000, 20)
    known = Ragged.of([[]] * 20)
    plain = rank(queries, entities, answers, known)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_equal(plain, rank(queries, entities, answers, known))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_no_query_gives_empty_ranks() -> None:
    found = rank(np.empty((0, 4), np.float32), np.ones((3, 4), np.float32), [], Ragged.of([]))
    assert found.ranks.shape == (0,)
    assert found.top_ids.shape == (0, 10)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(value: float) -> None:
    """NaN compares as false, so that a broken model would rank first everywhere."""
    broken = np.ones((2, 4), np.float32)
    broken[1, 2] = value
    for queries, entities in ((broken, np.ones((2, 4), np.float32)), (np.ones((2, 4), np.float32), broken)):
        with pytest.raises(ValueError, match="NaN"):
            rank(queries, entities, [0, 1], Ragged.of([[], []]))


def test_wrong_arguments_are_refused() -> None:
    vectors = np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match="as many"):
        rank(vectors, vectors, [0], Ragged.of([[], []]))
    with pytest.raises(ValueError, match="entity numbers"):
        rank(vectors, vectors, [0, 2], Ragged.of([[], []]))
    with pytest.raises(ValueError, match="entity numbers"):
        rank(vectors, vectors, [0, 1], Ragged.of([[], [2]]))
    with pytest.raises(ValueError, match="equal D"):
        rank(vectors[:, :3], vectors, [0, 1], Ragged.of([[], []]))


@given(seed=st.integers(0, 2**32), top=st.integers(1, 5), rows=st.integers(1, 4))
def test_candidates_of_top_lists_stay_few(seed: int, top: int, rows: int) -> None:
    """Within twice of what was left when they were last cut down, whatever passes by; the best are among them."""
    rng = np.random.default_rng(seed)
    lists = TopLists(rows, top, error=0.01, device=torch.device("cpu"))
    offered: list[tuple[int, int, float]] = []
    for block in range(12):
        count = int(rng.integers(0, 30))
        some = (
            rng.integers(0, rows, count),
            100 * block + np.arange(count),
            rng.standard_normal(count).astype(np.float32),
        )
        offered += list(zip(*(column.tolist() for column in some), strict=True))
        lists.offer(*(torch.as_tensor(column) for column in some))
        assert len(lists._rows_N) <= max(2 * lists._cut, 1)
    scores = {(row, number): score for row, number, score in offered}
    _, ids = lists.best(
        lambda r, i: torch.tensor([scores[pair] for pair in zip(r.tolist(), i.tolist(), strict=True)]).double()
    )
    for row in range(rows):
        mine = sorted(((-score, number) for of, number, score in offered if of == row))[:top]
        assert [number for number in ids[row].tolist() if number >= 0] == [number for _, number in mine]


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits() -> None:
    rng = np.random.default_rng(7)
    entities = np.repeat(unit(rng, 4000, 96), 2, axis=0)
    answers = rng.integers(0, 8000, 300)
    queries = entities[answers] + unit(rng, 300, 96)
    known = Ragged.of([rng.integers(0, 8000, 9).tolist() for _ in range(300)])
    there = rank_queries(torch.as_tensor(queries).cuda(), torch.as_tensor(entities).cuda(), answers, known)
    assert_equal(rank(queries, entities, answers, known), there)
