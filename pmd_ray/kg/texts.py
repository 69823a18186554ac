"""Texts of entities and queries as token rows, joined from pieces (SimKGC's texts, each part an option)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.neighbours import neighbour_lists
from pmd_ray.kg.pieces import Pieces, Tokenizer, inverse_text, stripped_description
from pmd_ray.spec.dataset import TextConfig
from pmd_ray.spec.ragged import Ints, Part, Ragged, TokenRows, offsets_of, weave

Numbers = NDArray[np.integer]
NOBODY = -1
"""No entity is left out of a text."""


class Texts:
    """Makes the token rows of entities and queries of one graph for one tokenizer.

    Relations are numbered 0 to R - 1 forward and R to 2R - 1 inverse.
    """

    def __init__(self, graph: Graph, pieces: Pieces, tokenizer: Tokenizer, config: TextConfig) -> None:
        self.graph = graph
        self.config = config
        self._pieces = pieces
        self._cls, self._sep = tokenizer.cls, tokenizer.sep
        self._relations = _stack(pieces.relations, pieces.inverse_relations)
        words = np.array([len(text.split()) for text in graph.entity_descriptions], dtype=np.int64)
        short = words < config.neighbours_below_words if config.description else np.ones_like(words, dtype=bool)
        self._extended = short & config.neighbours
        # By characters, not by tokens: WordPiece makes nothing of some, and the colon stands before them all the same.
        rests = (
            stripped_description(*pair) for pair in zip(graph.entity_names, graph.entity_descriptions, strict=True)
        )
        self._described = np.array([config.description and bool(rest) for rest in rests], dtype=bool)
        self._named = np.array([bool(name) for name in graph.entity_names], dtype=bool)
        self._neighbours = neighbour_lists(graph, at_most=config.max_neighbours)
        self._neighbour_pairs = self._sorted_pairs()

    def left_out(self, entities: Numbers, answers: Numbers) -> Ints:
        """[N] the answer where the entity's text would name it as a neighbour, else -1: equal texts, equal numbers."""
        pairs = entities.astype(np.int64) * self.graph.num_entities + answers
        place = np.searchsorted(self._neighbour_pairs, pairs)
        place = np.minimum(place, max(len(self._neighbour_pairs) - 1, 0))
        named = (
            self._neighbour_pairs[place] == pairs if len(self._neighbour_pairs) else np.zeros(len(pairs), dtype=bool)
        )
        return np.where(named & self._extended[entities], answers, NOBODY).astype(np.int64)

    def entity_rows(self, entities: Numbers, left_out: Numbers | None = None) -> TokenRows:
        """`[CLS] name: description neighbours [SEP]` of each entity [N], without the neighbour `left_out` [N]."""
        body, parts = self._bodies(entities, left_out)
        room = np.full(len(entities), self.config.max_tokens - 2, dtype=np.int64)
        return self._framed([_cut(body, room)], [_cut(parts, room)])

    def query_rows(self, entities: Numbers, relations: Numbers, left_out: Numbers | None = None) -> TokenRows:
        """`[CLS] head text [SEP] relation [SEP]` of each query [N]; the longer segment is cut first."""
        body, parts = self._bodies(entities, left_out)
        relation = self._relations.take(relations)
        first, second = longest_first(body.lengths, relation.lengths, self.config.max_tokens - 3)
        relation = _cut(relation, second)
        return self._framed([_cut(body, first), relation], [_cut(parts, first), _filled(relation, Part.RELATION)])

    def words(self) -> Ints:
        """Ids of all words that a text of the graph may have, rising."""
        pieces = self._pieces
        parts = [pieces.entity_names, pieces.relations, pieces.inverse_relations, pieces.colon]
        parts += [pieces.entity_descriptions] if self.config.description else []
        found = np.unique(np.concatenate([part.values for part in parts]))
        return np.union1d(found, [self._cls, self._sep]).astype(np.int64)

    def entity_string(self, entity: int, left_out: int = NOBODY) -> str:
        """The text that `entity_rows` holds the tokens of."""
        graph, config = self.graph, self.config
        name = graph.entity_names[entity]
        words = [stripped_description(name, graph.entity_descriptions[entity])] if config.description else []
        if self._extended[entity]:
            words += [graph.entity_names[other] for other in self._neighbours[entity] if other != left_out]
        rest = " ".join(word for word in words if word)
        return f"{name}: {rest}" if rest else name

    def relation_string(self, relation: int) -> str:
        """The text of a relation, forward or inverse."""
        count = self.graph.num_relations
        text = self.graph.relation_texts[relation % count]
        return text if relation < count else inverse_text(text)

    def _sorted_pairs(self) -> Ints:
        sources = np.repeat(np.arange(len(self._neighbours), dtype=np.int64), self._neighbours.lengths)
        return np.sort(sources * self.graph.num_entities + self._neighbours.values)

    def _bodies(self, entities: Numbers, left_out: Numbers | None) -> tuple[Ragged, Ragged]:
        """Tokens of `name: description neighbours`, and the part that each belongs to."""
        none = np.zeros(len(entities), dtype=np.int64)
        name = self._pieces.entity_names.take(entities)
        described = self._pieces.entity_descriptions.take(entities, None if self.config.description else none)
        near, has_near = self._neighbour_tokens(entities, left_out)
        has_rest = self._described[entities] | has_near
        colon = self._pieces.colon.take(none, np.where(has_rest, len(self._pieces.colon.values), 0))
        kinds = (Part.NAME, Part.NAME, Part.DESCRIPTION, Part.NEIGHBOUR)
        pieces = (name, colon, described, near)
        return weave(pieces), weave([_filled(piece, kind) for piece, kind in zip(pieces, kinds, strict=True)])

    def _neighbour_tokens(self, entities: Numbers, left_out: Numbers | None) -> tuple[Ragged, NDArray[np.bool_]]:
        """Tokens of the neighbours' names [N], and whether there is any such name."""
        listed = np.where(self._extended[entities], self._neighbours.lengths[entities], 0)
        near = self._neighbours.take(entities, listed)
        names = self._pieces.entity_names.take(near.values)
        kept = self._named[near.values]
        if left_out is not None:
            kept &= near.values != np.repeat(left_out, listed)
        lengths = np.where(kept, names.lengths, 0)
        rows = np.repeat(np.arange(len(entities)), listed)
        tokens, counts = (np.bincount(rows, weights=part, minlength=len(entities)) for part in (lengths, kept))
        return Ragged(_cut(names, lengths).values, offsets_of(tokens.astype(np.int64))), counts > 0

    def _framed(self, segments: list[Ragged], parts: list[Ragged]) -> TokenRows:
        return _framed(segments, parts, cls=self._cls, sep=self._sep)


def joined_query(text: Numbers, relation: Numbers, *, cls: int, sep: int, max_tokens: int) -> TokenRows:
    """One query row from the tokens of any text, of an entity outside the graph for example, and of a relation."""
    first, second = longest_first(np.array([len(text)]), np.array([len(relation)]), max_tokens - 3)
    segments = [
        _cut(Ragged(tokens, np.array([0, len(tokens)])), room) for tokens, room in ((text, first), (relation, second))
    ]
    parts = [_filled(segments[0], Part.DESCRIPTION), _filled(segments[1], Part.RELATION)]
    return _framed(segments, parts, cls=cls, sep=sep)


def _framed(segments: list[Ragged], parts: list[Ragged], *, cls: int, sep: int) -> TokenRows:
    """Put [CLS] before the first and [SEP] after each segment."""
    count = len(segments[0])
    ids, kinds, numbers = [_constant(count, cls)], [_constant(count, Part.SPECIAL)], [_constant(count, 0)]
    for number, (segment, part) in enumerate(zip(segments, parts, strict=True)):
        ids += [segment, _constant(count, sep)]
        kinds += [part, _constant(count, Part.SPECIAL)]
        numbers += [_filled(segment, number), _constant(count, number)]
    return TokenRows(weave(ids), weave(kinds), weave(numbers))


def longest_first(first: Ints, second: Ints, room: int) -> tuple[Ints, Ints]:
    """Lengths [N] of two segments cut to `room` tokens together, the longer one first (Hugging Face tokenizers)."""
    short = np.minimum(first, second)
    cut_long = np.where(short > room, short, np.maximum(short, room - short))
    both = short + cut_long > room
    cut_short = np.where(both, room // 2, short)
    cut_long = np.where(both, room // 2 + room % 2, cut_long)
    fits = first + second <= room
    swapped = first > second
    one = np.where(swapped, cut_long, cut_short)
    two = np.where(swapped, cut_short, cut_long)
    return np.where(fits, first, one), np.where(fits, second, two)


def _cut(rows: Ragged, at_most: Ints) -> Ragged:
    return rows.take(np.arange(len(rows)), at_most)


def _filled(like: Ragged, value: int) -> Ragged:
    return Ragged(np.full(len(like.values), value, dtype=np.int32), like.offsets)


def _constant(count: int, value: int) -> Ragged:
    return Ragged(np.full(count, value, dtype=np.int32), np.arange(count + 1, dtype=np.int64))


def _stack(first: Ragged, second: Ragged) -> Ragged:
    """All rows of one array, then all of the other."""
    values = np.concatenate([first.values, second.values])
    return Ragged(values, np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]))
