"""The released code's training beside one of ours: equal weights, equal texts, masks of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.released.examples import Draw, KnownLinks, Maker, Triple, cut, random_positions
from benchmarks.released.towers import Towers
from benchmarks.released.training import Training
from pmd_ray.kg.texts import Texts
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.wordpiece import WordPieces
from pmd_ray.spec.ragged import Ints
from pmd_ray.train.stage import _Training


def tokenizer_of(wordpieces: WordPieces) -> Any:
    """The same vocabulary behind the tokenizer class that the released code uses."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        wordpieces.save(Path(folder))
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def maker_of(texts: Texts, wordpieces: WordPieces, *, draw: Draw | None = None, training: bool = True) -> Maker:
    """Makes the texts that ours are compared with."""
    graph = texts.graph
    links = KnownLinks(graph, graph.train)
    draw, described = draw or random_positions(0.0), cut(graph.entity_descriptions, texts.config)
    return Maker(graph, links, tokenizer_of(wordpieces), texts.config, draw, described, training)


def training_beside(ours: _Training, *, draw: Draw | None = None) -> Training:
    """The same student and teacher in the released code's hands.

    Args:
        draw: Which positions it masks; by default as many at random as its rate says.
    """
    shop, grade = ours.shop, ours.grade
    draw = draw or random_positions(grade.mask.rate)
    teacher = None if ours.teacher is None else towers_of(ours.teacher.model, margin=grade.loss.ce.margin)
    with ours.words.whole(settle=False):
        student = towers_of(ours.model, margin=grade.loss.ce.margin)
    return Training(student, teacher, maker_of(shop.texts, shop.source.wordpieces, draw=draw), grade)


def towers_of(model: BiEncoder, *, margin: float = 0.0) -> Towers:
    """A model's weights in the released code's form."""
    return Towers(model, margin=margin)


def triples_of(queries: Ints) -> list[Triple]:
    """Rows [B, 3] as the released code's examples."""
    return [(head, relation, tail) for head, relation, tail in queries.tolist()]
