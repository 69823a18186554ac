"""Uses a trained model: finds its folder, evaluates it on any graph, predicts answers."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pmd_ray.kg.graph import Graph, Split
from pmd_ray.kg.load import load_graph
from pmd_ray.kg.texts import Texts
from pmd_ray.model.encode import encode, pack
from pmd_ray.model.folder import CARD, TrainedModel, load_trained
from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import ModelError
from pmd_ray.spec.evaluation import EvaluationConfig
from pmd_ray.spec.places import Places
from pmd_ray.train.evaluate import Ranked, Tick, encode_all, known_of, no_tick, rank_split
from pmd_ray.train.names import find_entity, find_relation
from pmd_ray.train.outside_text import outside_query
from pmd_ray.train.workers import Workers
from pmd_ray.train.workshop import device_of, open_texts


@dataclass(frozen=True)
class Answer:
    """A candidate answer of a query."""

    id: str
    name: str
    score: float
    """Cosine of query and entity, in [-1, 1]."""
    known: bool
    """Whether the graph holds this answer already, in any split."""


def find_model(place: str | Path) -> Path:
    """The model folder at or under a path: itself, a grade's folder, or the only grade of a run.

    Raises:
        ModelError: there is none, or several to choose from.
    """
    place = Path(place)
    for folder in (place, place / "model"):
        if (folder / CARD).is_file():
            return folder
    grades = sorted(found.parent for found in place.glob(f"*/model/{CARD}")) if place.is_dir() else []
    if grades:
        raise ModelError(
            f"'{place}' holds several models; name one: {', '.join(str(grade.parent) for grade in grades)}"
        )
    raise ModelError(
        f"'{place}' holds no model; give a grade's folder of a run, such as runs/demo/4 (make one with pmd distill)"
    )


def load_model(place: str | Path, *, device: str | None = None) -> TrainedModel:
    """Load a trained model.

    Args:
        place: Its folder, or its grade's folder.
        device: Such as `cpu` or `cuda`; the best there is by default.

    Raises:
        ModelError: there is none, or it is broken.
    """
    return load_trained(find_model(place), device=device_of(device))


def graph_of(model: TrainedModel, data: str | Path | None, places: Places) -> Graph:
    """The graph asked for, or the one that the model was trained on."""
    source = data if data is not None else model.card.dataset_source
    return load_graph(source, home=places.data_home, graphs=places.graphs)


def evaluate(
    model: TrainedModel,
    graph: Graph,
    split: Split = "test",
    *,
    evaluation: EvaluationConfig | None = None,
    cache: Path | None = None,
    tick: Tick = no_tick,
) -> Ranked:
    """Filtered ranks of a model on a split of any graph with texts, the one it was trained on or another."""
    texts = open_texts(graph, model.wordpieces, model.card.text, cache)
    workers = _alone(model)
    return rank_split(
        model.model, texts, split, evaluation=evaluation or EvaluationConfig(), workers=workers, tick=tick
    )


def predict(
    model: TrainedModel,
    graph: Graph,
    head: str,
    relation: str,
    *,
    top: int = 10,
    inverse: bool = False,
    text: bool = False,
    only_new: bool = False,
    cache: Path | None = None,
    tick: Tick = no_tick,
) -> list[Answer]:
    """The best answers of (head, relation, ?), best first.

    Args:
        head: An entity's id or name; with `text`, the text of an entity that the graph does not hold.
        relation: A relation's id or text; `inverse ...` asks for its inverse.
        inverse: Ask (?, relation, head) instead.
        only_new: Leave out answers that the graph holds already.
        cache: A folder for entity vectors by model and graph.

    Raises:
        UserError: no such entity or relation (the message names the nearest), or several of that name.
    """
    texts = open_texts(graph, model.wordpieces, model.card.text, cache)
    number = find_relation(graph, relation, inverse=inverse)
    known: set[int] = set()
    if text:
        rows = outside_query(texts, model.wordpieces, head, number)
    else:
        entity = torch.tensor([find_entity(graph, head)]).numpy()
        asked = torch.tensor([number]).numpy()
        rows = texts.query_rows(entity, asked)
        known = set(known_of(graph).tails(entity, asked).values.tolist())
    side = encode(model.model.hr, pack(rows, device=_alone(model).device), pooling=model.model.pooling)
    scores_E = (entity_vectors(model, graph, texts, cache=cache, tick=tick) @ side.pooled_UD[0].float()).cpu()
    if only_new and known:
        scores_E[sorted(known)] = -torch.inf
    values, entities = scores_E.topk(min(top, len(scores_E) - (len(known) if only_new else 0)))
    return [
        Answer(graph.entity_ids[entity], graph.entity_names[entity], float(value), entity in known)
        for value, entity in zip(values, entities.tolist(), strict=True)
    ]


def entity_vectors(
    model: TrainedModel, graph: Graph, texts: Texts, *, cache: Path | None = None, tick: Tick = no_tick
) -> Tensor:
    """[E, D] unit vectors of all entities, from the cache where they are there."""
    from safetensors.torch import load_file, save_file

    workers = _alone(model)
    path = None
    if cache is not None:
        weights = hashlib.sha256(f"{model.card.stage_key} {model.card.text.model_dump_json()}".encode())
        for value in model.model.tail.parameters():
            # A model is trained anew under its old key now and then; a cheap sum over the weights tells.
            weights.update(value.detach().double().sum().cpu().numpy().tobytes())
        path = cache / "vectors" / f"{weights.hexdigest()[:24]}-{graph.fingerprint[:24]}.safetensors"
        if path.is_file():
            stored: Tensor = load_file(path, device=str(workers.device))["entities"]
            return stored
    vectors = encode_all(model.model, "tail", texts.entity_rows, graph.num_entities, workers=workers, tick=tick)
    if path is not None:
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with storing(path):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                save_file({"entities": vectors.contiguous()}, aside)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
    return vectors


def _alone(model: TrainedModel) -> Workers:
    return Workers(0, 1, next(model.model.parameters()).device)
