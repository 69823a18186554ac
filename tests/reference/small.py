"""Small graphs, encoders, grades and batches for tests: made in milliseconds, dense enough to be hard."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.pieces import make_pieces
from pmd_ray.kg.texts import Texts
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.build import build_student
from pmd_ray.model.encode import TowerPass, encode, pack
from pmd_ray.model.losses import States
from pmd_ray.model.outputs import Facts, Outputs, Part, Side, Watched
from pmd_ray.model.source import Source, load_source
from pmd_ray.spec.dataset import TextConfig
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.encoder import EncoderConfig, ScratchConfig
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.train.batches import Batch, Batches, MaskWords, TowerBatch

WORDS = ("river", "stone", "amber", "violet", "harbour", "lantern", "copper", "meadow", "willow", "thunder", "orchid")


@cache
def dense_graph(*, entities: int = 14, relations: int = 3, triples: int = 90, seed: int = 0) -> Graph:
    """Many answers for each query, loops among them; texts of 1 to about 30 words."""
    luck = np.random.default_rng(seed)
    every = np.stack(np.meshgrid(*map(np.arange, (entities, relations, entities)), indexing="ij"), -1).reshape(-1, 3)
    loops = np.flatnonzero(every[:, 0] == every[:, 2])
    others = np.flatnonzero(every[:, 0] != every[:, 2])
    chosen = np.concatenate([luck.choice(loops, 6, replace=False), luck.choice(others, triples - 6, replace=False)])
    train = every[luck.permutation(chosen)].astype(np.int32)

    def said(count: int) -> str:
        return " ".join(luck.choice(WORDS, count))

    return Graph(
        name="dense",
        entity_ids=tuple(f"e{number:02d}" for number in range(entities)),
        entity_names=tuple(f"{WORDS[number % len(WORDS)]} {number}" for number in range(entities)),
        entity_descriptions=tuple(said(int(count)) for count in luck.choice([0, 1, 4, 24, 30], entities)),
        relation_ids=tuple(f"r{number}" for number in range(relations)),
        relation_texts=tuple(said(number + 1) for number in range(relations)),
        train=train,
        valid=train[:2],
        test=train[2:4],
        fingerprint=f"dense {entities} {relations} {triples} {seed}",
    )


def words_of(graph: Graph) -> list[str]:
    """Every text of a graph."""
    return [*graph.entity_names, *graph.entity_descriptions, *graph.relation_texts, "inverse", ":"]


def encoder_config(**changes: Any) -> EncoderConfig:
    """A scratch encoder of 4 layers and width 32."""
    settings: dict[str, Any] = {
        "name": "scratch",
        "scratch": ScratchConfig(layers=4, width=32, heads=4, vocabulary=150),
        "dropout": 0.0,
    }
    return EncoderConfig(**{**settings, **changes})


@cache
def small_source(seed: int = 0) -> Source:
    """The encoder of `encoder_config` for the dense graph."""
    return load_source(encoder_config(), words_of(dense_graph()), seed=seed)


def texts_of(graph: Graph, **options: Any) -> Texts:
    """Its texts for the small encoder."""
    wordpieces = small_source().wordpieces
    return Texts(graph, make_pieces(graph, wordpieces), wordpieces, TextConfig(**options))


def student_grade(preset: str = "pmd_code", *, layers: int = 2, batch: int = 12, **settings: Any) -> GradeConfig:
    """The student of a chain 4 -> layers of that preset; settings are dotted keys with `__` for dots."""
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    own: dict[str, Any] = {"layers": [4, layers], "optimiser.batch": batch, **dotted}
    rate = own.pop("mask.rate", 0.0)
    drafts: list[dict[str, Any]] = [{"preset": preset}, {**own, "mask_rates": [rate]}]
    return build_chain(drafts, source="test").grades[1]


def model_of(
    grade: GradeConfig, *, seed: int = 0, encoder: EncoderConfig | None = None, teacher: BiEncoder | None = None
) -> BiEncoder:
    """A bi-encoder in fp64 whose two towers differ, and whose vectors spread as trained ones do."""
    model = build_student(
        grade, encoder or encoder_config(), small_source(seed), teacher=teacher, sample=lambda: _no_sample()
    )
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tower in model.towers.values():
            for weight in tower.parameters():
                weight.add_(0.05 * torch.randn(weight.shape, generator=noise))
        model.log_inverse_t.add_(0.1 * seed)
    return model.double()


def _no_sample() -> Any:
    raise AssertionError("no layer map of these tests looks at texts")


def batches_of(
    grade: GradeConfig, graph: Graph, *, watches: bool = True, text: dict[str, Any] | None = None, **where: Any
) -> Batches:
    """Batches of the graph's training queries for the small encoder; `where`: this worker's rank and their number."""
    wordpieces = small_source().wordpieces
    words = MaskWords(wordpieces.mask, wordpieces.size)
    return Batches(texts_of(graph, **(text or {})), grade, words, seed=5, watches=watches, **where)


def facts_of(batches: Batches, batch: Batch) -> Facts:
    """The facts of a batch that one worker holds whole."""
    negative, head_negative = batches.negatives(batch.queries)
    return Facts(
        rows={role: torch.as_tensor(rows) for role, rows in batch.rows.items()},
        negative_BB=torch.as_tensor(negative),
        head_negative_B=torch.as_tensor(head_negative),
        watched={"hr": _watched(batch.hr), "tail": _watched(batch.tail)},
    )


def _watched(texts: TowerBatch) -> Watched:
    row = np.searchsorted(texts.tokens.ids.offsets, texts.watched.places, side="right") - 1
    return Watched(torch.as_tensor(row), torch.as_tensor(texts.watched.weights))


def student_passes(
    model: BiEncoder, batch: Batch, states: States, *, recompute: bool = False, group_rows: int = 5
) -> dict[str, TowerPass]:
    """A pass of each tower over the masked texts."""
    return {
        tower: TowerPass(
            getattr(model, tower),
            pack(
                texts.tokens,
                ids=texts.student_ids,
                watched=texts.watched if states.watches else None,
                group_rows=group_rows,
            ),
            pooling=model.pooling,
            states=states,
            recompute=recompute,
            seeds=None,
        )
        for tower, texts in (("hr", batch.hr), ("tail", batch.tail))
    }


def teacher_outputs(model: BiEncoder, batch: Batch, states: States) -> Outputs:
    """The teacher's outputs over its masked texts."""
    model.eval()
    sides = [
        encode(
            getattr(model, tower),
            pack(
                texts.tokens,
                ids=texts.teacher_ids,
                watched=texts.watched if states.watches else None,
            ),
            pooling=model.pooling,
            states=states,
        )
        for tower, texts in (("hr", batch.hr), ("tail", batch.tail))
    ]
    return Outputs(sides[0], sides[1])


def gradients_of(side: Side) -> Side:
    """Those of a pass's leaves, zero where no loss read one."""

    def of(part: Part) -> torch.Tensor:
        return torch.zeros_like(part.tensor) if part.tensor.grad is None else part.tensor.grad

    return side.changed(of)
