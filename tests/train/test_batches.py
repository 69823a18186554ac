"""A batch holds each distinct text once, masks follow the text or the occurrence, and workers share one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import small

from pmd_ray.kg.known import with_inverses
from pmd_ray.kg.pieces import make_pieces
from pmd_ray.kg.texts import Texts
from pmd_ray.model.outputs import Role
from pmd_ray.spec.dataset import TextConfig
from pmd_ray.train.batches import Batch, Batches, MaskWords, TextKeys, TowerBatch

GRAPH = small.dense_graph()
ROLES: tuple[Role, ...] = ("hr", "tail", "head")


def a_grade(**settings: Any) -> Any:
    return small.student_grade("pmd_scaled", **{"mask__rate": 0.3, **settings})


def a_batch(*, text: dict[str, Any] | None = None, epoch: int = 0, step: int = 0, **settings: Any) -> Batch:
    return small.batches_of(a_grade(**settings), GRAPH, text=text).make(epoch, step)


def tower_of(batch: Batch, role: Role) -> TowerBatch:
    return batch.hr if role == "hr" else batch.tail


def seen(batch: Batch, role: Role) -> list[tuple[Any, ...]]:
    """For each query the clean ids, the student's and teacher's ids, and the watched places of its text."""
    texts, found = tower_of(batch, role), []
    for row in batch.rows[role].tolist():
        low, high = texts.tokens.ids.offsets[row : row + 2]
        watched = (texts.watched.places >= low) & (texts.watched.places < high)
        found.append(
            (
                tuple(texts.tokens.ids[row].tolist()),
                tuple(texts.student_ids[row].tolist()),
                tuple(texts.teacher_ids[row].tolist()),
                tuple((texts.watched.places[watched] - low).tolist()),
                tuple(texts.watched.weights[watched].tolist()),
            )
        )
    return found


def test_each_distinct_text_is_encoded_once() -> None:
    """Section 7: the released code encodes every occurrence."""
    batch = a_batch(batch=60, text={"neighbours": False})
    for texts in (batch.hr, batch.tail):
        rows = [tuple(texts.tokens.ids[row].tolist()) for row in range(len(texts.tokens))]
        assert len(set(rows)) == len(rows) == len(set(texts.text_keys.tolist())) < 60
    assert len(batch.tail.tokens) == len(set(batch.queries[:, 2].tolist()))
    assert len(batch.hr.tokens) == len({(h, r) for h, r, _ in batch.queries.tolist()})


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_heads_and_tails_share_their_texts(rate: float) -> None:
    """Also where only tails enter the feature loss; not where only tails are masked."""
    settings: dict[str, Any] = {"batch": 60, "text": {"neighbours": False}, "loss__ce__self_negatives": True}
    batch = a_batch(mask__rate=rate, **settings)
    entities = set(batch.queries[:, 0].tolist()) | set(batch.queries[:, 2].tolist())
    assert len(batch.tail.tokens) == len(entities)
    apart = a_batch(mask__rate=rate, mask__sequences=("hr", "tail"), **settings)
    heads, tails = (set(apart.queries[:, column].tolist()) for column in (0, 2))
    assert len(apart.tail.tokens) == (len(heads) + len(tails) if rate else len(entities))
    if rate:
        assert all(clean == student for clean, student, *_ in seen(apart, "head"))
        assert any(clean != student for clean, student, *_ in seen(apart, "tail"))
        watched = [places for *_, places, _ in seen(batch, "tail")]
        assert sum(map(len, watched)) > 0


def test_a_shared_text_is_watched_for_whichever_role_asks() -> None:
    batch = a_batch(
        batch=60,
        text={"neighbours": False},
        loss__ce__self_negatives=True,
        mask__loss_sequences=("hr", "head"),
    )
    for clean, student, _, watched, _ in seen(batch, "head"):
        changed = tuple(place for place in range(len(clean)) if clean[place] != student[place])
        assert watched == changed


def test_rows_name_each_querys_own_texts() -> None:
    batch = a_batch(batch=40, loss__ce__self_negatives=True)
    texts = small.texts_of(GRAPH)
    heads, relations, tails = batch.queries.T
    head_left_out, tail_left_out = texts.left_out(heads, tails), texts.left_out(tails, heads)
    expected = {
        "hr": texts.query_rows(heads, relations, head_left_out),
        "tail": texts.entity_rows(tails, tail_left_out),
        "head": texts.entity_rows(heads, head_left_out),
    }
    for role in ROLES:
        texts_of_role = tower_of(batch, role).tokens
        for number, row in enumerate(batch.rows[role].tolist()):
            for column in ("ids", "parts", "segments"):
                ours, wanted = getattr(texts_of_role, column)[row], getattr(expected[role], column)[number]
                assert np.array_equal(ours, wanted), (role, number, column)


def test_no_text_names_the_answer() -> None:
    """The answer is left out of the head's neighbours, and the head out of the answer's, while training."""
    from dataclasses import replace

    graph = replace(GRAPH, entity_names=tuple(f"{letter} {letter} {letter}" for letter in "abcdehilmnorst"))
    graph = replace(graph, entity_descriptions=tuple("" for _ in graph.entity_names), fingerprint="distinct")
    wordpieces = small.small_source().wordpieces
    text = TextConfig(max_neighbours=20, max_tokens=400)
    texts = Texts(graph, make_pieces(graph, wordpieces), wordpieces, text)
    batches = Batches(texts, a_grade(batch=80), MaskWords(wordpieces.mask, wordpieces.size), seed=1, watches=True)
    batch = batches.make(0, 0)
    names = [tuple(row) for row in wordpieces.tokenize(list(graph.entity_names))]
    assert len(set(names)) == graph.num_entities
    for number, (head, _, tail) in enumerate(batch.queries.tolist()):
        if head == tail:
            continue
        query, answer = (tower_of(batch, role).tokens.ids[batch.rows[role][number]] for role in ("hr", "tail"))
        assert not _within(names[tail], query.tolist()) and not _within(names[head], answer.tolist())
        assert _within(names[head], query.tolist()) and _within(names[tail], answer.tolist())
    some = batch.hr.tokens.ids[int(batch.rows["hr"][0])].tolist()
    assert sum(_within(name, some) for name in names) > 3, "other neighbours stay"


def _within(part: tuple[int, ...], row: list[int]) -> bool:
    return any(tuple(row[start : start + len(part)]) == part for start in range(len(row)))


def test_heads_are_encoded_with_self_negatives_only() -> None:
    """2.10, C1, C26: a third of the released code's encoder work, for nothing when they are off."""
    off, on = (a_batch(loss__ce__self_negatives=flag) for flag in (False, True))
    assert set(off.rows) == {"hr", "tail"} and set(on.rows) == {"hr", "tail", "head"}
    assert set(off.tail.text_keys.tolist()) < set(on.tail.text_keys.tolist())


@pytest.mark.parametrize("per", ["text", "occurrence"])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("teacher_input", ["same", "own"])
def test_workers_share_one_batch_and_its_masks(per: str, size: int, teacher_input: str) -> None:
    """C21: the released masks change with the number of workers."""
    grade = a_grade(batch=30, mask__per=per, loss__ce__self_negatives=True, mask__teacher_input=teacher_input)
    whole = small.batches_of(grade, GRAPH).make(1, 2)
    shares = [small.batches_of(grade, GRAPH, rank=rank, size=size).make(1, 2) for rank in range(size)]
    assert sum(len(share.queries) for share in shares) == len(whole.queries) == 30
    for role in ROLES:
        # A head is watched by the way, where the same worker has it as a tail; no loss looks.
        columns = 3 if role == "head" else 5

        def known(batch: Batch, role: Role = role, columns: int = columns) -> list[Any]:
            pairs = zip(batch.queries.tolist(), seen(batch, role), strict=True)
            return [(tuple(query), row[:columns]) for query, row in pairs]

        assert sorted(row for share in shares for row in known(share)) == sorted(known(whole)), role
    changed = sum(clean != student for clean, student, *_ in seen(whole, "hr"))
    assert changed > 20


def test_equal_texts_share_a_mask_only_per_text() -> None:
    def distinct(per: str) -> tuple[int, int]:
        batch = a_batch(batch=60, mask__per=per, text={"neighbours": False})
        both = {(clean, student) for clean, student, *_ in seen(batch, "tail")}
        return len(both), len({clean for clean, *_ in seen(batch, "tail")})

    masks, texts = distinct("text")
    assert masks == texts
    masks, texts = distinct("occurrence")
    assert masks > 2 * texts
    batch = a_batch(batch=60, mask__per="occurrence", text={"neighbours": False})
    assert len(batch.hr.tokens) == len(batch.tail.tokens) == 60
    batch = a_batch(batch=60, mask__per="occurrence", loss__ce__self_negatives=True)
    assert len(batch.tail.tokens) == 120


def test_occurrences_stand_apart_even_without_a_mask() -> None:
    """C8: the released code encodes each occurrence, so each has dropout of its own."""
    batch = a_batch(batch=60, mask__per="occurrence", mask__rate=0.0, text={"neighbours": False})
    assert len(batch.tail.tokens) == len(batch.hr.tokens) == 60
    assert batch.tail.student_ids is batch.tail.tokens.ids


def test_an_epoch_may_end_early_with_other_queries_each_time() -> None:
    grade = a_grade(optimiser__steps_per_epoch=2, optimiser__batch=8)
    batches = small.batches_of(grade, GRAPH)
    assert batches.steps_per_epoch == 2
    epochs = [np.concatenate([batch.queries for _, batch in batches.epoch(epoch)]) for epoch in (0, 1)]
    assert all(len(queries) == 16 for queries in epochs)
    assert not np.array_equal(epochs[0], epochs[1])


def test_epochs_differ_and_repeats_do_not() -> None:
    """Any batch can be made again, in any order, by anybody: what resuming rests on."""
    grade = a_grade(batch=30, loss__ce__self_negatives=True)
    batches = small.batches_of(grade, GRAPH)
    first, other_epoch, other_step = batches.make(0, 1), batches.make(1, 1), batches.make(0, 2)
    again = small.batches_of(grade, GRAPH).make(0, 1)
    for role in ROLES:
        assert seen(first, role) == seen(again, role) == seen(batches.make(0, 1), role)
    assert not np.array_equal(first.queries, other_epoch.queries)
    assert not {tuple(q) for q in first.queries.tolist()} & {tuple(q) for q in other_step.queries.tolist()}
    masks = [
        {clean: student for clean, student, *_ in seen(batch, "tail")} for batch in (first, other_epoch, other_step)
    ]
    for other in masks[1:]:
        shared = [text for text in masks[0].keys() & other.keys() if len(text) > 8]
        assert shared and any(masks[0][text] != other[text] for text in shared), "each batch has masks of its own"


def test_an_epoch_is_every_query_once() -> None:
    for drop_last, steps, queries in ((True, 25, 175), (False, 26, 180)):
        grade = a_grade(batch=7, optimiser__drop_last=drop_last)
        batches = small.batches_of(grade, GRAPH)
        made = [batch.queries for _, batch in batches.epoch(3)]
        assert len(made) == batches.steps_per_epoch == steps
        listed = [tuple(query) for part in made for query in part.tolist()]
        every = {tuple(query) for query in with_inverses(GRAPH.train, GRAPH.num_relations).tolist()}
        assert len(listed) == queries == len(set(listed)) and set(listed) <= every
    assert [step for step, _ in batches.epoch(3, first_step=24)] == [24, 25]


def test_a_worker_may_get_nothing_of_the_last_batch() -> None:
    grade = a_grade(batch=179, optimiser__drop_last=False, loss__ce__self_negatives=True)
    batches = small.batches_of(grade, GRAPH, rank=1, size=2)
    share = batches.make(0, 1)
    assert len(share.queries) == len(share.hr.tokens) == len(share.tail.tokens) == 0
    assert len(share.tail.student_ids) == 0 and all(len(rows) == 0 for rows in share.rows.values())


def test_a_batch_larger_than_the_graph_is_the_graph() -> None:
    batches = small.batches_of(a_grade(batch=5000), GRAPH)
    assert (batches.batch, batches.steps_per_epoch) == (180, 1)


def test_negatives_are_what_no_training_triple_says() -> None:
    """triplet_mask and self_negative_mask, one pair at a time; C23: validation and test triples are not looked at."""
    batches = small.batches_of(a_grade(batch=50), GRAPH)
    queries = batches.make(0, 0).queries
    train = {tuple(row) for row in with_inverses(GRAPH.train, GRAPH.num_relations).tolist()}
    negative, head_negative = batches.negatives(queries)
    listed = queries.tolist()
    for i, (head, relation, tail) in enumerate(listed):
        assert head_negative[i] == ((head, relation, head) not in train)
        for j, (_, _, other) in enumerate(listed):
            assert negative[i, j] == (other != tail and (head, relation, other) not in train)
    assert not negative.diagonal().any() and negative.any() and not head_negative.all() and head_negative.any()
    earlier = batches.earlier_negatives(queries, np.arange(GRAPH.num_entities))
    for i, (head, relation, _) in enumerate(listed):
        assert earlier[i].tolist() == [(head, relation, e) not in train for e in range(GRAPH.num_entities)]


def test_the_student_and_the_teacher_see_one_mask_unless_told_otherwise() -> None:
    """2.1, C8: the released student's ids are the teacher's list by accident; here it is an option."""
    same = a_batch(batch=40)
    assert np.array_equal(same.hr.student_ids.values, same.hr.teacher_ids.values)
    own = a_batch(batch=40, mask__teacher_input="own")
    assert np.array_equal(own.hr.student_ids.values, same.hr.student_ids.values)
    assert not np.array_equal(own.hr.teacher_ids.values, own.hr.student_ids.values)
    assert np.array_equal(own.hr.watched.places, own.hr.drawn.places)


def test_only_asked_sequences_are_masked_and_watched() -> None:
    batch = a_batch(batch=40, mask__sequences=("tail",), mask__loss_sequences=("hr", "tail"))
    assert np.array_equal(batch.hr.student_ids.values, batch.hr.tokens.ids.values)
    assert not len(batch.hr.watched.places) and len(batch.tail.watched.places)
    batch = a_batch(batch=40, mask__loss_sequences=("hr",))
    assert len(batch.tail.drawn.places) and not len(batch.tail.watched.places)
    batch = small.batches_of(a_grade(batch=40), GRAPH, watches=False).make(0, 0)
    assert len(batch.hr.drawn.places) and not len(batch.hr.watched.places)


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_unmasked_texts_may_be_watched_at_random_places(rate: float) -> None:
    """Where the feature loss looks when nothing is masked: nowhere (2.3), or somewhere."""
    nowhere = a_batch(batch=60, mask__rate=rate, mask__count="floor")
    somewhere = a_batch(batch=60, mask__rate=rate, mask__count="floor", loss__feature__when_unmasked="random")
    assert np.array_equal(nowhere.hr.student_ids.values, somewhere.hr.student_ids.values)
    for texts, before in ((somewhere.hr, nowhere.hr), (somewhere.tail, nowhere.tail)):
        row = np.searchsorted(texts.tokens.ids.offsets, texts.watched.places, side="right") - 1
        assert set(row.tolist()) == set(range(len(texts.tokens))), "every text is looked at"
        assert (np.diff(texts.watched.places) > 0).all()
        masked = np.isin(row, np.searchsorted(before.tokens.ids.offsets, before.drawn.places, side="right") - 1)
        assert np.array_equal(texts.watched.places[masked], before.drawn.places)
        assert not (texts.tokens.parts.values[texts.watched.places] == 0).any()


def test_text_keys_come_apart_again() -> None:
    keys, luck = TextKeys(14, 3), np.random.default_rng(0)
    entities, relations, left_out = luck.integers(0, 14, 500), luck.integers(0, 6, 500), luck.integers(-1, 14, 500)
    parts = keys.parts_of_query(keys.query(entities, relations, left_out))
    assert all(np.array_equal(a, b) for a, b in zip(parts, (entities, relations, left_out), strict=True))
    pair = keys.parts_of_entity(keys.entity(entities, left_out))
    assert all(np.array_equal(a, b) for a, b in zip(pair, (entities, left_out), strict=True))
