"""Batches of training queries: distinct texts, their masks, and which query uses which text.

A batch encodes each distinct text once (unless masks are drawn per occurrence), and heads only with self-negatives: the
released code encodes three padded sequences a query, a third of them for nothing (method notes, 2.10).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pmd_ray.kg.known import KnownTails, true_negatives, with_inverses
from pmd_ray.kg.texts import Texts
from pmd_ray.model.masking import Drawn, draw, masked_ids
from pmd_ray.model.outputs import Role
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.ragged import Ints, Ragged, TokenRows
from pmd_ray.spec.streams import UInts, generator, row_keys, stream_key


@dataclass(frozen=True)
class TowerBatch:
    """The distinct texts that one tower encodes."""

    tokens: TokenRows
    text_keys: Ints
    """[U] a number for each text, the same in every batch (see `TextKeys`)."""
    numbers: Ints
    """[U] a number for each encoding: of a masked text, a clean one, or one occurrence; the same on all workers."""
    drawn: Drawn
    """What the student's mask hides."""
    student_ids: Ragged
    teacher_ids: Ragged
    """Masked as the teacher sees them."""
    teacher_drawn: Drawn
    watched: Drawn
    """Tokens that the feature loss looks at."""


@dataclass(frozen=True)
class Batch:
    """One worker's share of a global batch of B queries."""

    queries: Ints
    """[b, 3] head, relation (inverses included), answer."""
    all_queries: Ints
    """[B, 3] of the global batch, worker by worker."""
    hr: TowerBatch
    tail: TowerBatch
    rows: dict[Role, Ints]
    """[b] each query's text among the distinct texts of its tower."""


@dataclass(frozen=True)
class MaskWords:
    """What of the vocabulary masking needs."""

    mask_id: int
    vocabulary: int


class Batches:
    """All batches of a grade: any epoch and step can be made again at any time, by any number of workers."""

    def __init__(
        self,
        texts: Texts,
        grade: GradeConfig,
        words: MaskWords,
        *,
        seed: int,
        watches: bool,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self.texts = texts
        self.grade = grade
        self._words = words
        self._seed = seed
        self._watches = watches
        self._rank, self._size = rank, size
        graph = texts.graph
        self.known = KnownTails(graph, graph.train)
        self.queries = with_inverses(graph.train, graph.num_relations)
        heads, answers = self.queries[:, 0], self.queries[:, 2]
        self.head_left_out = texts.left_out(heads, answers)
        self.tail_left_out = texts.left_out(answers, heads)
        self.keys = TextKeys(graph.num_entities, graph.num_relations)
        batch = min(grade.optimiser.batch, len(self.queries))
        whole, rest = divmod(len(self.queries), batch)
        self.batch = batch
        steps = whole if grade.optimiser.drop_last or not rest else whole + 1
        self.steps_per_epoch = min(steps, grade.optimiser.steps_per_epoch or steps)
        self._order_of: tuple[int, Ints] = (-1, np.zeros(0, dtype=np.int64))

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """(step, batch) of an epoch, both counted from 0."""
        for step in range(first_step, self.steps_per_epoch):
            yield step, self.make(epoch, step)

    def make(self, epoch: int, step: int) -> Batch:
        """This worker's share of the batch at that epoch and step."""
        if self._order_of[0] != epoch:
            self._order_of = (epoch, generator(self._seed, "order", epoch).permutation(len(self.queries)))
        samples = self._order_of[1][step * self.batch : (step + 1) * self.batch]
        shares = [samples[rank :: self._size] for rank in range(self._size)]
        return self._of_samples(shares[self._rank], self.queries[np.concatenate(shares)], epoch, step)

    def words(self) -> Ints | None:
        """Ids of all words that a batch may have, rising; None: any word of the vocabulary."""
        if self.grade.mask.rate > 0 and self.grade.mask.replace == "80_10_10":
            return None
        return np.union1d(self.texts.words(), [self._words.mask_id]).astype(np.int64)

    def negatives(self, queries: Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """[B, B] and [B]: where another query's answer, and the own head, are no known answers."""
        heads, relations = queries[:, 0], queries[:, 1]
        return true_negatives(self.known, queries, queries[:, 2]), ~self.known.contains(heads, relations, heads)

    def earlier_negatives(self, queries: Ints, tails: Ints) -> NDArray[np.bool_]:
        """[B, N] where an earlier batch's tail is no known answer of a query."""
        return true_negatives(self.known, queries, tails)

    def _of_samples(self, samples: Ints, all_queries: Ints, epoch: int, step: int) -> Batch:
        queries = self.queries[samples]
        heads, relations, tails = queries.T
        with_heads = self.grade.loss.ce.self_negatives
        hr_keys = self.keys.query(heads, relations, self.head_left_out[samples])
        hr, hr_rows = self._tower("hr", hr_keys, samples * 2, np.zeros(len(samples), dtype=bool), epoch, step)
        entities = self.keys.entity(tails, self.tail_left_out[samples])
        occurrences, is_head = samples * 2, np.zeros(len(samples), dtype=bool)
        if with_heads:
            entities = np.concatenate([entities, self.keys.entity(heads, self.head_left_out[samples])])
            occurrences, is_head = (
                np.concatenate([samples * 2, samples * 2 + 1]),
                np.repeat([False, True], len(samples)),
            )
        tail, rows = self._tower("tail", entities, occurrences, is_head, epoch, step)
        by_role: dict[Role, Ints] = {"hr": hr_rows, "tail": rows[: len(samples)]}
        if with_heads:
            by_role["head"] = rows[len(samples) :]
        return Batch(queries, all_queries, hr, tail, by_role)

    def _tower(
        self, tower: str, text_keys: Ints, occurrences: Ints, is_head: NDArray[np.bool_], epoch: int, step: int
    ) -> tuple[TowerBatch, Ints]:
        """Distinct texts of one tower with their masks, and each occurrence's place among them."""
        mask = self.grade.mask
        masked = _of_role(tower, is_head, mask.sequences if mask.rate > 0 else ())
        looked_at = _of_role(tower, is_head, mask.loss_sequences if self._watches else ())
        # Also where nothing is masked: each occurrence then has dropout of its own, as in the released code.
        apart = mask.per == "occurrence"
        # Heads and tails share their text's encoding unless only one of them is masked. The feature loss may look at it
        # for the tail's sake: it picks the rows of each role itself.
        number = occurrences if apart else text_keys * 2 + (masked & (mask.rate > 0))
        numbers, first, rows = np.unique(number, return_index=True, return_inverse=True)
        looked_at = np.bincount(rows.reshape(-1), weights=looked_at, minlength=len(first)) > 0
        text_keys, masked = text_keys[first], masked[first]
        tokens = self._rows_of(tower, text_keys)
        counters = occurrences[first] if apart else text_keys
        keys = row_keys(stream_key(self._seed, "mask", tower, epoch, step), counters)
        drawn = _in_rows(draw(tokens, keys, mask), tokens, masked)
        teacher_drawn = drawn
        if mask.teacher_input == "own":
            teacher_drawn = _in_rows(draw(tokens, row_keys(1, keys), mask), tokens, masked)
        watched = self._watched(tokens, keys, drawn, looked_at)
        batch = TowerBatch(
            tokens=tokens,
            text_keys=text_keys,
            numbers=numbers,
            drawn=drawn,
            student_ids=self._masked(tokens, drawn, keys),
            teacher_ids=self._masked(tokens, teacher_drawn, keys),
            teacher_drawn=teacher_drawn,
            watched=watched,
        )
        return batch, rows.reshape(-1)

    def _rows_of(self, tower: str, text_keys: Ints) -> TokenRows:
        if tower == "hr":
            return self.texts.query_rows(*self.keys.parts_of_query(text_keys))
        return self.texts.entity_rows(*self.keys.parts_of_entity(text_keys))

    def _masked(self, tokens: TokenRows, drawn: Drawn, keys: UInts) -> Ragged:
        words = self._words
        return masked_ids(
            tokens, drawn, keys, replace=self.grade.mask.replace, mask_id=words.mask_id, vocabulary=words.vocabulary
        )

    def _watched(self, tokens: TokenRows, keys: UInts, drawn: Drawn, looked_at: NDArray[np.bool_]) -> Drawn:
        """The masked tokens, and random ones of texts without any where the feature loss asks for them."""
        if not self._watches:
            return Drawn.nothing()
        watched = _in_rows(drawn, tokens, looked_at)
        feature = self.grade.loss.feature
        if getattr(feature, "when_unmasked", "nowhere") == "nowhere":
            return watched
        empty = looked_at.copy()
        empty[_rows_with(tokens, watched)] = False
        mask = self.grade.mask.model_copy(update={"count": "stochastic", "sampling": "without_replacement"})
        rate = float(getattr(feature, "random_rate", 0.15))
        more = _in_rows(draw(tokens, row_keys(2, keys), mask, rate=rate, at_least=1), tokens, empty)
        places, weights = (np.concatenate(pair) for pair in zip(_fields(watched), _fields(more), strict=True))
        order = np.argsort(places)
        return Drawn(places[order], weights[order])


class TextKeys:
    """One number for each distinct text of a graph: (entity, left-out neighbour), and with a relation for queries."""

    def __init__(self, num_entities: int, num_relations: int) -> None:
        self._others = num_entities + 1
        self._relations = 2 * num_relations

    def entity(self, entities: Ints, left_out: Ints) -> Ints:
        """[N] keys; `left_out` is -1 where nobody is."""
        return entities.astype(np.int64) * self._others + left_out + 1

    def query(self, entities: Ints, relations: Ints, left_out: Ints) -> Ints:
        """[N] keys."""
        return self.entity(entities, left_out) * self._relations + relations

    def parts_of_entity(self, keys: Ints) -> tuple[Ints, Ints]:
        """Entities and left-out neighbours."""
        return keys // self._others, keys % self._others - 1

    def parts_of_query(self, keys: Ints) -> tuple[Ints, Ints, Ints]:
        """Entities, relations and left-out neighbours."""
        entities, left_out = self.parts_of_entity(keys // self._relations)
        return entities, keys % self._relations, left_out


def _of_role(tower: str, is_head: NDArray[np.bool_], sequences: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each occurrence's role (query, tail or head) is among the named sequences."""
    if tower == "hr":
        return np.full(len(is_head), "hr" in sequences)
    return np.where(is_head, "head" in sequences, "tail" in sequences)


def _fields(drawn: Drawn) -> tuple[Ints, Ints]:
    return drawn.places, drawn.weights


def _rows_with(tokens: TokenRows, drawn: Drawn) -> Ints:
    rows: Ints = np.searchsorted(tokens.ids.offsets, drawn.places, side="right") - 1
    return rows


def _in_rows(drawn: Drawn, tokens: TokenRows, wanted: NDArray[np.bool_]) -> Drawn:
    """Only the draws in wanted rows."""
    if wanted.all() or not len(drawn.places):
        return drawn
    kept = wanted[_rows_with(tokens, drawn)]
    return Drawn(drawn.places[kept], drawn.weights[kept])
