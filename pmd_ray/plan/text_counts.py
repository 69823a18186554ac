"""How many tokens a stage encodes, from words of a sample of a graph's texts: no tokenizer is loaded.

Words x 1.35 is near what WordPiece makes of them; special tokens are added and the result is cut at max_tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pmd_ray.kg.graph import SPLITS, Graph, Split
from pmd_ray.plan.known_sizes import GraphSizes
from pmd_ray.spec.dataset import TextConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOKENS_PER_WORD = 1.35
ENTITIES_SAMPLED = 2000
QUERIES_SAMPLED = 4096
BATCHES_SAMPLED = 4
ASSUMED_WORDS = {"name": 2.5, "description": 14.0, "neighbours": 4.0, "relation": 3.0}
"""Of a graph that is not on this machine: about WN18RR's (its tokens: method notes, 7)."""


@dataclass(frozen=True)
class Lengths:
    """Encoded texts: how many, how many tokens, and the sum of squared lengths, which attention costs."""

    texts: float = 0.0
    tokens: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Lengths) -> Lengths:
        return Lengths(self.texts + other.texts, self.tokens + other.tokens, self.squares + other.squares)

    def __mul__(self, times: float) -> Lengths:
        return Lengths(self.texts * times, self.tokens * times, self.squares * times)

    def operations(self, width: int) -> float:
        """Floating-point operations of one layer forward: 24 D^2 a token and 4 L D a token of L (method notes, 7)."""
        return 24.0 * width * width * self.tokens + 4.0 * width * self.squares


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What decides which texts a training batch encodes."""

    text: TextConfig
    batch: int
    heads: bool
    """Heads are encoded too (self-negatives)."""
    apart: bool
    """Each occurrence is encoded, not each distinct text."""


class TextCounts:
    """Counts texts of one graph; without the graph, from its sizes and assumed lengths."""

    def __init__(self, sizes: GraphSizes, graph: Graph | None = None) -> None:
        self.sizes = sizes
        self._graph = graph
        self._batches: dict[Reading, Lengths] = {}
        self._distinct: dict[TextConfig, Lengths] = {}
        self._words_of: dict[TextConfig, _Words] = {}
        self._entities: dict[TextConfig, Lengths] = {}
        self._queries: dict[TextConfig, Lengths] = {}

    @property
    def assumed(self) -> bool:
        """Whether lengths are assumed, the graph not being there."""
        return self._graph is None

    def queries(self) -> int:
        """Training queries: both directions of every triple."""
        return 2 * self.sizes.train

    def batch(self, reading: Reading) -> Lengths:
        """Mean of what the student encodes for one batch, both towers."""
        if reading not in self._batches:
            self._batches[reading] = self._count_batch(reading)
        return self._batches[reading]

    def distinct(self, text: TextConfig) -> Lengths:
        """All distinct training texts, each once: what a constant teacher encodes."""
        if text not in self._distinct:
            heads, relations, tails = self._all_queries()
            words = self._words(text)
            hr = _distinct(words.entity_key(heads, tails) * (2 * self.sizes.relations) + relations)
            tail = _distinct(words.entity_key(tails, heads))
            self._distinct[text] = _lengths(words.query(heads[hr])) + _lengths(words.entity(tails[tail]))
        return self._distinct[text]

    def entities(self, text: TextConfig) -> Lengths:
        """All entities, each once, as a ranking encodes them."""
        if text not in self._entities:
            sampled = self._words(text).entity(self._sampled_entities)
            self._entities[text] = _lengths(sampled) * (self.sizes.entities / len(sampled))
        return self._entities[text]

    def asked(self, text: TextConfig, split: Split, sample: int | None = None) -> Lengths:
        """The distinct queries of a split's triples, or of so many of them."""
        size = {"valid": self.sizes.valid, "test": self.sizes.test, "train": self.sizes.train}[split]
        wanted = min(size, sample or size)
        if text not in self._queries:
            sampled = _lengths(self._words(text).query(self._sampled_queries[0]))
            self._queries[text] = sampled * (1.0 / sampled.texts)
        return self._queries[text] * (2.0 * wanted * self._distinct_share[split])

    @cached_property
    def _distinct_share(self) -> dict[str, float]:
        """Of a split's queries: many triples ask the same, which is encoded once."""
        if self._graph is None:
            return dict.fromkeys(SPLITS, 1.0)
        shares: dict[str, float] = {}
        for split in SPLITS:
            heads, relations, _ = _both_ways(self._graph.triples(split), self.sizes.relations)
            asked = np.unique(heads * 2 * self.sizes.relations + relations)
            shares[split] = len(asked) / max(1, len(heads))
        return shares

    def _count_batch(self, reading: Reading) -> Lengths:
        heads, relations, tails = self._sampled_queries
        words = self._words(reading.text)
        size = min(reading.batch, self.queries())
        total = Lengths()
        for number in range(BATCHES_SAMPLED):
            rows = np.arange(number * size, (number + 1) * size) % len(heads)
            if size > len(heads):  # a batch larger than the sample: as many distinct ones as the sample has
                rows = np.arange(len(heads))
            h, r, t = heads[rows], relations[rows], tails[rows]
            entities, others = (np.concatenate([t, h]), np.concatenate([h, t])) if reading.heads else (t, h)
            if reading.apart:
                found = _lengths(words.query(h)) + _lengths(words.entity(entities))
            else:
                hr = _distinct(words.entity_key(h, t) * (2 * self.sizes.relations) + r)
                tail = _distinct(words.entity_key(entities, others))
                found = _lengths(words.query(h[hr])) + _lengths(words.entity(entities[tail]))
            total += found * (size / len(rows))
        return total * (1.0 / BATCHES_SAMPLED)

    def _words(self, text: TextConfig) -> _Words:
        if text not in self._words_of:
            self._words_of[text] = self._make_words(text)
        return self._words_of[text]

    def _make_words(self, text: TextConfig) -> _Words:
        entities, graph = self.sizes.entities, self._graph
        if graph is None:
            words = ASSUMED_WORDS["name"] + (ASSUMED_WORDS["description"] if text.description else 0.0)
            short = np.full(entities, text.neighbours)
            words += ASSUMED_WORDS["neighbours"] if text.neighbours else 0.0
            return _Words(np.full(entities, words), short, ASSUMED_WORDS["relation"], text.max_tokens)
        names, descriptions = self._spread(graph.entity_names), self._spread(graph.entity_descriptions)
        lengths = names + (descriptions if text.description else 0.0)
        extended = np.full(entities, text.neighbours)
        if text.description:
            extended &= descriptions < text.neighbours_below_words
        degrees = np.bincount(graph.train[:, [0, 2]].ravel(), minlength=entities)
        near = np.minimum(degrees, text.max_neighbours) * names[self._sampled_entities].mean()
        relation = np.mean([len(name.split()) for name in graph.relation_texts]) if graph.relation_texts else 0.0
        lengths = lengths + np.where(extended, near, 0.0)
        return _Words(lengths, extended, float(relation) + 0.5, text.max_tokens)  # half of them say "inverse" too

    def _spread(self, texts: Sequence[str]) -> Floats:
        """Words of the sampled entities' texts; those of the others are dealt out from these, in turn."""
        sampled = self._sampled_entities
        counted = np.array([len(texts[number].split()) for number in sampled.tolist()], dtype=np.float64)
        words = np.resize(counted, self.sizes.entities)
        words[sampled] = counted
        return words

    @cached_property
    def _sampled_entities(self) -> Ints:
        count = self.sizes.entities
        if count <= ENTITIES_SAMPLED:
            return np.arange(count)
        return np.unique(np.linspace(0, count - 1, ENTITIES_SAMPLED).astype(np.int64))

    @cached_property
    def _sampled_queries(self) -> tuple[Ints, Ints, Ints]:
        heads, relations, tails = self._all_queries()
        order = np.random.default_rng(0).permutation(len(heads))[:QUERIES_SAMPLED]
        return heads[order], relations[order], tails[order]

    def _all_queries(self) -> tuple[Ints, Ints, Ints]:
        if self._graph is not None:
            return _both_ways(self._graph.train, self.sizes.relations)
        draw = np.random.default_rng(0)
        count = max(2, self.queries())
        heads, tails = (draw.integers(self.sizes.entities, size=count) for _ in range(2))
        return heads, draw.integers(2 * self.sizes.relations, size=count), tails


@dataclass(frozen=True)
class _Words:
    """Words of every entity's text, and of a mean relation."""

    of_entity: Floats
    extended: NDArray[np.bool_]
    """Neighbours are named in it, the answer left out: the text depends on the query."""
    of_relation: float
    max_tokens: int

    def entity(self, entities: Ints) -> Floats:
        """[N] tokens of entities' texts, [CLS] and [SEP] among them."""
        return np.minimum(self.of_entity[entities] * TOKENS_PER_WORD + 2.0, self.max_tokens)

    def query(self, heads: Ints) -> Floats:
        """[N] tokens of queries from these heads."""
        words = self.of_entity[heads] + self.of_relation
        return np.minimum(words * TOKENS_PER_WORD + 3.0, self.max_tokens)

    def entity_key(self, entities: Ints, others: Ints) -> Ints:
        """[N] equal numbers for equal texts."""
        return entities * (len(self.of_entity) + 1) + np.where(self.extended[entities], others + 1, 0)


def _lengths(tokens: Floats) -> Lengths:
    return Lengths(float(len(tokens)), float(tokens.sum()), float(np.square(tokens).sum()))


def _distinct(numbers: Ints) -> Ints:
    """[U] the first place of each distinct number."""
    return np.unique(numbers, return_index=True)[1]


def _both_ways(triples: NDArray[np.integer], relations: int) -> tuple[Ints, Ints, Ints]:
    heads, kinds, tails = triples.astype(np.int64).T
    return (
        np.concatenate([heads, tails]),
        np.concatenate([kinds, kinds + relations]),
        np.concatenate([tails, heads]),
    )
