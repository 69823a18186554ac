"""A split's ranks equal a plain double loop over queries and entities, one text at a time."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import tiny_chain
from reference.tiny_chain import ALONE, Tiny
from torch import Tensor

from pmd_ray.kg.graph import Graph, Split
from pmd_ray.kg.texts import Texts
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.spec.errors import NotFiniteError, StorageError
from pmd_ray.spec.evaluation import EvaluationConfig, RerankConfig
from pmd_ray.train import vectors
from pmd_ray.train.evaluate import Ranked, rank_split, sampled
from pmd_ray.train.use import evaluate, load_model
from pmd_ray.train.vectors import empty_table

PLAIN = EvaluationConfig()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A teacher and a student, trained."""
    folder = tmp_path_factory.mktemp("evaluate")
    chain = tiny_chain.tiny(tiny_chain.written_graph(folder), folder / "run", optimiser__epochs=1)
    for place in range(2):
        chain.train(place)
    return chain


def model_of(run: Tiny, place: int = 1) -> BiEncoder:
    return load_model(run.stages[place].out, device="cpu").model


@torch.inference_mode()
def vector(model: BiEncoder, tower: str, rows: Any) -> Tensor:
    """One text through a tower, without padding or groups; C27: the mask as long numbers, as transformers says."""
    ids, segments = (torch.as_tensor(part[0].astype(np.int64))[None] for part in (rows.ids, rows.segments))
    states = getattr(model, tower)(input_ids=ids, token_type_ids=segments, attention_mask=torch.ones_like(ids))[0]
    mean: Tensor = torch.nn.functional.normalize(states[0].mean(0), dim=0)
    return mean


Cosines = dict[tuple[int, int], list[float]]
"""Of each query (head, relation) of a split with every entity."""


def plain_cosines(model: BiEncoder, texts: Texts, split: Split) -> Cosines:
    graph, cosines = texts.graph, Cosines()
    entities = [vector(model, "tail", texts.entity_rows(np.array([e]))) for e in range(graph.num_entities)]
    for h, r, t in graph.triples(split).tolist():
        for head, relation in ((h, r), (t, r + graph.num_relations)):
            query = vector(model, "hr", texts.query_rows(np.array([head]), np.array([relation])))
            cosines[head, relation] = [float(query @ one) for one in entities]
    return cosines


def plain_ranks(
    cosines: Cosines, graph: Graph, split: Split, *, known: list[Any], hops: int = 0, weight: float = 0.0
) -> list[float]:
    ranks = []
    triples = {tuple(triple) for part in known for triple in part.tolist()}
    for h, r, t in graph.triples(split).tolist():
        for head, relation, answer, turned in ((h, r, t, False), (t, r + graph.num_relations, h, True)):
            near = within(graph, head, hops) if hops else set()
            scores = [cosine + weight * (e in near) for e, cosine in enumerate(cosines[head, relation])]
            rank = 1.0
            for other in range(graph.num_entities):
                triple = (other, r, head) if turned else (head, r, other)
                if other != answer and triple not in triples:
                    rank += float(scores[other] > scores[answer])
            ranks.append(rank)
    return ranks


def within(graph: Graph, head: int, hops: int) -> set[int]:
    near = {head}
    for _ in range(hops):
        edges = graph.train.tolist()
        near |= {t for h, _, t in edges if h in near} | {h for h, _, t in edges if t in near}
    return near


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_ranks_equal_a_plain_double_loop(run: Tiny, place: int, split: Split) -> None:
    """C23: all three splits are filtered, nothing else. C4, C5: a teacher is ranked as a student is."""
    model, texts, graph = model_of(run, place), run.shop.texts, run.shop.graph
    ranked = rank_split(model, texts, split, evaluation=PLAIN, workers=ALONE)
    every = [graph.train, graph.valid, graph.test]
    cosines = plain_cosines(model, texts, split)
    assert ranked.plain.ranks.tolist() == plain_ranks(cosines, graph, split, known=every)
    fewer = plain_ranks(cosines, graph, split, known=[graph.train])
    assert fewer != ranked.plain.ranks.tolist()  # the graph is dense enough to tell


def test_what_training_says_is_what_evaluation_finds(run: Tiny, tmp_path: Path) -> None:
    """C4, C5: the released evaluator builds a student only, and cannot encode a teacher's entities."""
    for place, stage in enumerate(run.stages):
        result = run.train(place)
        model = load_model(stage.out, device="cpu")
        found = evaluate(model, run.shop.graph, "test", cache=tmp_path).report(run.shop.graph)
        assert found == result.test
        assert evaluate(model, run.shop.graph, "valid").report(run.shop.graph) == result.valid


def test_metrics_are_not_rounded(run: Tiny) -> None:
    """C26: the released metrics are rounded to 4 digits before the directions are averaged."""
    report = run.train(1).test
    assert report is not None
    ranked = rank_split(model_of(run), run.shop.texts, "test", evaluation=PLAIN, workers=ALONE)
    ranks = ranked.plain.ranks
    assert report.all.mrr == float(np.mean(1.0 / ranks)) != round(report.all.mrr, 4)
    assert report.forward.mrr == float(np.mean(1.0 / ranks[0::2]))
    assert report.all.mrr == pytest.approx((report.forward.mrr + report.backward.mrr) / 2, rel=1e-14)


def test_reciprocal_ranks_are_those_of_the_same_triples(run: Tiny) -> None:
    """A validation of a sample, a smaller one or the whole split looks at the same triples."""
    model, texts, graph = model_of(run), run.shop.texts, run.shop.graph

    def ranked(sample: int | None) -> Ranked:
        return rank_split(model, texts, "valid", evaluation=PLAIN, workers=ALONE, sample=sample)

    whole, count = ranked(None), len(graph.valid)
    each = (1.0 / whole.plain.ranks).reshape(count, 2).mean(axis=1).round(5)
    assert whole.reciprocal_ranks(of=count) == pytest.approx(each)
    four = tuple(each[sampled(count, 4)])
    assert len(set(each)) > 4  # the graph is large enough to tell triples apart
    for sample in (None, 7, 4):
        assert ranked(sample).reciprocal_ranks(of=count, at_most=4) == pytest.approx(four)


def test_a_smaller_sample_lies_within_a_larger_one() -> None:
    numbers = [set(sampled(1000, size).tolist()) for size in (10, 256, 900)]
    assert numbers[0] < numbers[1] < numbers[2] and [len(some) for some in numbers] == [10, 256, 900]
    assert sampled(3, None).tolist() == sampled(3, 5).tolist() == [0, 1, 2]


def test_each_query_and_entity_is_encoded_once(run: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """C26: the released evaluator encodes query, tail and head of every triple, and pads them to the longest."""
    asked: Counter[tuple[int, ...]] = Counter()
    texts, graph = run.shop.texts, run.shop.graph
    query_rows, entity_rows = texts.query_rows, texts.entity_rows

    def counted_queries(heads: Any, relations: Any, *rest: Any) -> Any:
        asked.update(zip(heads.tolist(), relations.tolist(), strict=True))
        return query_rows(heads, relations, *rest)

    def counted_entities(entities: Any, *rest: Any) -> Any:
        asked.update((entity,) for entity in entities.tolist())
        return entity_rows(entities, *rest)

    monkeypatch.setattr(texts, "query_rows", counted_queries)
    monkeypatch.setattr(texts, "entity_rows", counted_entities)
    ranked = rank_split(model_of(run), texts, "train", evaluation=PLAIN, workers=ALONE)
    distinct = {tuple(query[:2]) for query in ranked.queries.tolist()}
    assert len(distinct) < len(ranked.queries) == 128
    assert set(asked) == distinct | {(entity,) for entity in range(graph.num_entities)}
    assert set(asked.values()) == {1}


def test_reranked_figures_stand_beside_the_plain_ones(run: Tiny) -> None:
    """2.9: the released figures are re-ranked only."""
    model, texts, graph = model_of(run), run.shop.texts, run.shop.graph
    with_bonus = EvaluationConfig(rerank=RerankConfig(weight=0.03, hops=1))
    plain = rank_split(model, texts, "test", evaluation=PLAIN, workers=ALONE)
    both = rank_split(model, texts, "test", evaluation=with_bonus, workers=ALONE)
    assert plain.reranked is None and plain.report(graph).reranked is None
    assert both.reranked is not None
    assert both.plain.ranks.tolist() == plain.plain.ranks.tolist()
    every = [graph.train, graph.valid, graph.test]
    wanted = plain_ranks(plain_cosines(model, texts, "test"), graph, "test", known=every, hops=1, weight=0.03)
    assert both.reranked.ranks.tolist() == wanted != plain.plain.ranks.tolist()
    report = both.report(graph)
    assert report.reranked is not None and report.reranked.all.mrr == float(np.mean(1 / np.array(wanted)))
    assert report.all == plain.report(graph).all


def test_dropout_is_off_and_the_mode_comes_back(run: Tiny) -> None:
    """C20: the released validation leaves the student in training mode."""
    model = model_of(run)
    wanted = rank_split(model, run.shop.texts, "valid", evaluation=PLAIN, workers=ALONE)
    model.set_dropout(0.5)
    model.train()
    found = rank_split(model, run.shop.texts, "valid", evaluation=PLAIN, workers=ALONE)
    assert found.plain.scores.tolist() == wanted.plain.scores.tolist()
    assert model.training and model.hr.training


def test_vectors_that_are_not_finite(run: Tiny) -> None:
    """NaN compares as false: it would rank first."""
    model = model_of(run)
    with torch.no_grad():
        next(model.tail.parameters()).fill_(torch.nan)
    with pytest.raises(NotFiniteError, match="the model's vectors hold NaN or infinity"):
        rank_split(model, run.shop.texts, "valid", evaluation=PLAIN, workers=ALONE)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float32])
def test_the_kind_of_the_attention_mask_is_a_matter_of_style(run: Tiny, kind: torch.dtype) -> None:
    """C27: the released ByteTensor gives the very same states."""
    tower, ids = model_of(run).tail, torch.arange(5, 17).view(2, 6)
    mask = torch.tensor([[1] * 6, [1] * 3 + [0] * 3])
    with torch.inference_mode():
        one, other = (tower(input_ids=ids, attention_mask=given)[0] for given in (mask, mask.to(kind)))
    assert torch.equal(one, other)


def test_a_large_table_of_vectors_lies_in_a_file(run: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, texts = model_of(run), run.shop.texts
    wanted = rank_split(model, texts, "test", evaluation=PLAIN, workers=ALONE)
    monkeypatch.setattr(vectors, "TABLE_BYTES", 1000)
    table = empty_table(texts.graph.num_entities, model.width, ALONE)
    if Path("/proc/self/maps").is_file():
        maps = Path("/proc/self/maps").read_text().splitlines()
        assert any(f" {vectors._place()}/" in line and line.endswith("(deleted)") for line in maps)
    assert table.shape == (texts.graph.num_entities, model.width)
    assert not list(vectors._place().glob("pmd-vectors-*")), "gone with the process, however it ends"
    found = rank_split(model, texts, "test", evaluation=PLAIN, workers=ALONE)
    assert found.plain.ranks.tolist() == wanted.plain.ranks.tolist()
    assert found.plain.scores.tolist() == wanted.plain.scores.tolist()


def test_no_room_for_a_table_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(StorageError, match=r"(?s)space.*free some space"):
        empty_table(1 << 30, 8, ALONE)


MILLIONS = """
import sys
import numpy as np
import torch
from pmd_ray.model.ranking import rank_queries
from pmd_ray.spec.ragged import Ragged
from pmd_ray.train.evaluate import _check_finite
from pmd_ray.train.vectors import empty_table
from pmd_ray.train.workers import Workers

entities, width, part = int(sys.argv[1]), 128, 1 << 16

def own():
    status = open("/proc/self/status").read()
    return int(status.split("RssAnon:")[1].split()[0]) >> 10

rank_queries(torch.eye(8), torch.eye(8), np.arange(8), Ragged.of([[]] * 8))
before = own()
table = empty_table(entities, width, Workers(0, 1, torch.device("cpu")))
luck = torch.Generator().manual_seed(0)
for start in range(0, entities, part):
    some = torch.randn(min(part, entities - start), width, generator=luck)
    table[start : start + part] = torch.nn.functional.normalize(some, dim=1)
_check_finite(table)
answers = np.arange(7, entities, entities // 40)[:40]
ranks = rank_queries(table[torch.as_tensor(answers)] + 0.01, table, answers, Ragged.of([[]] * 40)).ranks
print(own() - before, int((ranks == 1).sum()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="memory is read from /proc")
def test_five_million_entities_take_the_memory_of_a_block() -> None:
    """2.5 GB of vectors in a file: beside it, what ranking takes does not grow with the entities."""
    grown = {}
    for count in (50_000, 5_000_000):
        command = [sys.executable, "-c", MILLIONS, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        grown[count], first = (int(word) for word in done.stdout.split())
        assert first == 40, "every query is nearest to its own answer"
    assert grown[5_000_000] < 300, grown
