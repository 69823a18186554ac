"""Tokens counted from words: what is encoded once, twice, or for each occurrence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pmd_ray.kg.load import load_graph
from pmd_ray.plan.known_sizes import GraphSizes, encoder_sizes, graph_sizes
from pmd_ray.plan.text_counts import TOKENS_PER_WORD, Reading, TextCounts
from pmd_ray.spec.dataset import TextConfig

NAMES = TextConfig(description=False, neighbours=False)


@pytest.fixture(scope="module")
def counts(graph_folder: Path) -> TextCounts:
    graph = load_graph(graph_folder)
    return TextCounts(GraphSizes.of(graph), graph)


def reading(**given: object) -> Reading:
    return Reading(**{"text": NAMES, "batch": 16, "heads": False, "apart": False, **given})  # type: ignore[arg-type]


def test_entities_are_their_words_and_two_special_tokens(counts: TextCounts, graph_folder: Path) -> None:
    names = load_graph(graph_folder).entity_names
    expected = sum(len(name.split()) * TOKENS_PER_WORD + 2 for name in names)
    assert counts.entities(NAMES).tokens == pytest.approx(expected)
    assert counts.entities(NAMES).texts == len(names)


def test_descriptions_and_neighbours_make_texts_longer_up_to_the_limit(counts: TextCounts) -> None:
    described = TextConfig(neighbours=False)
    both = TextConfig()
    cut = TextConfig(max_tokens=8)
    by_length = [counts.entities(text).tokens for text in (NAMES, described, both)]
    assert by_length == sorted(by_length)
    assert len(set(by_length)) == 3
    assert counts.entities(cut).tokens <= 8 * counts.entities(cut).texts


def test_equal_texts_of_a_batch_are_encoded_once_unless_masks_are_drawn_apart(counts: TextCounts) -> None:
    once, apart = counts.batch(reading()), counts.batch(reading(apart=True))
    assert apart.texts == 32
    assert once.texts < apart.texts
    assert counts.batch(reading(heads=True, apart=True)).texts == 48


def test_texts_that_name_neighbours_depend_on_the_query(counts: TextCounts) -> None:
    assert counts.distinct(TextConfig()).texts > counts.distinct(NAMES).texts


def test_a_batch_larger_than_the_graph_is_the_whole_graph(counts: TextCounts) -> None:
    assert counts.batch(reading(batch=10_000, apart=True)).texts == 2 * counts.queries()


def test_queries_that_many_triples_ask_are_encoded_once(counts: TextCounts, graph_folder: Path) -> None:
    test = load_graph(graph_folder).test
    asked = {(int(h), int(r), False) for h, r, _ in test} | {(int(t), int(r), True) for _, r, t in test}
    assert counts.asked(NAMES, "test").texts == pytest.approx(len(asked))
    assert counts.asked(NAMES, "valid", 2).texts <= 4


def test_operations_grow_with_width_and_with_the_square_of_lengths(counts: TextCounts) -> None:
    lengths = counts.entities(NAMES)
    narrow, wide = lengths.operations(32), lengths.operations(64)
    assert 3 < wide / narrow < 4
    assert np.isclose(wide, 24 * 64**2 * lengths.tokens + 4 * 64 * lengths.squares)


def test_a_graph_that_is_not_here_is_as_large_as_the_catalog_says() -> None:
    sizes = graph_sizes("WN18RR")
    assert sizes is not None
    counts = TextCounts(sizes)
    assert counts.assumed
    linked = counts.entities(TextConfig())
    # Method notes, 7: 29.9 tokens an entity with neighbours, 23.1 without.
    assert linked.tokens / linked.texts == pytest.approx(29.9, rel=0.1)
    alone = counts.entities(TextConfig(neighbours=False))
    assert alone.tokens / alone.texts == pytest.approx(23.1, rel=0.1)
    assert graph_sizes("no such graph") is None


@pytest.mark.parametrize(
    ("name", "layers", "width"),
    [
        ("bert-base-uncased", 12, 768),
        ("google/bert_uncased_L-4_H-256_A-4", 4, 256),
        ("sentence-transformers/all-MiniLM-L6-v2", 6, 384),
    ],
)
def test_known_encoders(name: str, layers: int, width: int) -> None:
    found = encoder_sizes(name)
    assert found is not None
    assert (found.layers, found.width) == (layers, width)
    assert encoder_sizes("somebody/something") is None


def test_bert_base_has_as_many_weights_as_it_has() -> None:
    found = encoder_sizes("bert-base-uncased")
    assert found is not None
    # 109,482,240 with the pooler's 590,592, which is not built.
    assert found.weights(12) == pytest.approx(108_891_648, rel=1e-4)
