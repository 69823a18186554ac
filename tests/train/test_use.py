"""Finds models, entities and relations as a person names them, and predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import tiny_chain
from reference.tiny_chain import ALONE, Tiny

from pmd_ray.kg.graph import Graph
from pmd_ray.model.folder import TrainedModel
from pmd_ray.spec.errors import ModelError, StorageError, UserError
from pmd_ray.spec.evaluation import EvaluationConfig
from pmd_ray.train import use
from pmd_ray.train.evaluate import known_of, rank_split
from pmd_ray.train.names import find_entity, find_relation
from pmd_ray.train.use import entity_vectors, find_model, graph_of, load_model, predict
from pmd_ray.train.workshop import Places, open_texts

pytestmark = pytest.mark.whole

GRAPH = tiny_chain.graph()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A grade that reads names only."""
    folder = tmp_path_factory.mktemp("use")
    settings: dict[str, Any] = {"dataset__text__description": False, "dataset__text__neighbours": False}
    chain = tiny_chain.tiny(
        tiny_chain.written_graph(folder), folder / "run", preset="simkgc", layers=(1,), optimiser__epochs=2, **settings
    )
    chain.train()
    return chain


@pytest.fixture
def model(run: Tiny) -> TrainedModel:
    return load_model(run.stages[0].out, device="cpu")


def renamed(**names: str) -> Graph:
    pairs = zip(GRAPH.entity_ids, GRAPH.entity_names, strict=True)
    return replace(GRAPH, entity_names=tuple(names.get(entity, name) for entity, name in pairs))


def test_finds_the_model(run: Tiny, tmp_path: Path) -> None:
    grade = run.stages[0].out
    assert find_model(grade) == find_model(grade / "model") == grade / "model"
    with pytest.raises(ModelError, match=f"holds several models; name one: .*{grade.name}"):
        find_model(grade.parent)
    with pytest.raises(ModelError, match="holds no model"):
        load_model(tmp_path)


def test_the_graph_that_it_was_trained_on(run: Tiny, model: TrainedModel) -> None:
    found = graph_of(model, None, Places())
    assert found.fingerprint == run.shop.graph.fingerprint == model.card.dataset_fingerprint
    assert found.entity_ids == GRAPH.entity_ids


def test_finds_entities() -> None:
    name = GRAPH.entity_names[3]
    assert find_entity(GRAPH, "e03") == find_entity(GRAPH, name) == find_entity(GRAPH, name.upper()) == 3
    twins = renamed(e01="Georgia", e02="Georgia", e04="GEORGIA")
    assert find_entity(twins, "GEORGIA") == 4  # that name exactly
    with pytest.raises(UserError, match=r"2 entities are called 'Georgia'; give an id: e01 \(.*\), e02 \("):
        find_entity(twins, "Georgia")
    with pytest.raises(UserError, match="3 entities are called 'georgia'"):
        find_entity(twins, "georgia")
    with pytest.raises(UserError, match=r"no entity 'rivver 0' in tiny; did you mean 'river 0'.*\? To ask .* --text"):
        find_entity(GRAPH, "rivver 0")
    with pytest.raises(UserError, match=r"no entity 'zzz' in tiny\. To ask about an entity outside the graph"):
        find_entity(GRAPH, "zzz")


def test_finds_relations() -> None:
    text = GRAPH.relation_texts[1]
    assert find_relation(GRAPH, "r1", inverse=False) == find_relation(GRAPH, text, inverse=False) == 1
    assert find_relation(GRAPH, text, inverse=True) == find_relation(GRAPH, f"inverse {text}", inverse=False) == 4
    assert find_relation(GRAPH, f"inverse {text}", inverse=True) == 1
    alike = replace(GRAPH, relation_texts=("near", "near", "far"))
    assert find_relation(alike, "r1", inverse=False) == 1
    with pytest.raises(UserError, match="2 relations are called 'near'; give an id: r0, r1"):
        find_relation(alike, "inverse near", inverse=False)
    with pytest.raises(UserError, match=r"no relation 'neer' in tiny; did you mean 'near'"):
        find_relation(alike, "neer", inverse=False)


@pytest.mark.parametrize("inverse", [False, True])
def test_predicts_what_evaluation_ranks(run: Tiny, model: TrainedModel, inverse: bool) -> None:
    graph = run.shop.graph
    head, relation, tail = graph.test[0].tolist()
    asked, answer = (tail, head) if inverse else (head, tail)
    ranked = rank_split(model.model, run.shop.texts, "test", evaluation=EvaluationConfig(), workers=ALONE)
    answers = predict(model, graph, graph.entity_ids[asked], graph.relation_texts[relation], inverse=inverse, top=1000)
    assert len(answers) == graph.num_entities  # no more than there are
    scores = [one.score for one in answers]
    assert scores == sorted(scores, reverse=True)
    known = known_of(graph).tails(np.array([asked]), np.array([relation + inverse * graph.num_relations]))
    assert {one.id for one in answers if one.known} == {graph.entity_ids[e] for e in known.values.tolist()}
    kept = [one.id for one in answers if not one.known or one.id == graph.entity_ids[answer]]
    assert kept.index(graph.entity_ids[answer]) + 1 == ranked.plain.ranks[int(inverse)]
    best = predict(
        model, graph, graph.entity_names[asked], f"inverse {graph.relation_texts[relation]}", inverse=not inverse
    )
    assert best == answers[:10]
    new = predict(model, graph, graph.entity_ids[asked], "r" + str(relation), inverse=inverse, top=1000, only_new=True)
    assert new == [one for one in answers if not one.known]


def test_an_entity_outside_the_graph_is_its_text(run: Tiny, model: TrainedModel) -> None:
    """An entity's own text gives its own answers; nothing is known of it."""
    graph = run.shop.graph
    inside = predict(model, graph, "e05", "r2", inverse=True)
    outside = predict(model, graph, graph.entity_names[5], "r2", inverse=True, text=True)
    assert [one.id for one in outside] == [one.id for one in inside]
    assert [one.score for one in outside] == pytest.approx([one.score for one in inside], abs=1e-6)
    assert not any(one.known for one in outside)


def test_cached_vectors(run: Tiny, model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, texts = run.shop.graph, open_texts(run.shop.graph, model.wordpieces, model.card.text, None)
    fresh = entity_vectors(model, graph, texts)
    assert torch.equal(entity_vectors(model, graph, texts, cache=tmp_path), fresh)
    with monkeypatch.context() as patch:
        patch.setattr(use, "encode_all", None)  # nobody may encode
        assert torch.equal(entity_vectors(model, graph, texts, cache=tmp_path), fresh)
    with torch.no_grad():
        model.model.tail.get_parameter("embeddings.LayerNorm.bias")[0] += 0.5
    changed = entity_vectors(model, graph, texts, cache=tmp_path)
    assert not torch.equal(changed, fresh) and torch.equal(changed, entity_vectors(model, graph, texts))
    other = replace(graph, fingerprint="another graph")
    entity_vectors(model, other, texts, cache=tmp_path)
    assert len(list((tmp_path / "vectors").iterdir())) == 3


def test_a_cache_that_cannot_be_written(run: Tiny, model: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "vectors").touch()
    texts = open_texts(run.shop.graph, model.wordpieces, model.card.text, None)
    with pytest.raises(StorageError, match="could not be written"):
        entity_vectors(model, run.shop.graph, texts, cache=tmp_path)
