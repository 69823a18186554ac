"""Which tokens may be masked, how many are, and that a draw depends on nothing but its row's key and length."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.released import draw_positions

from pmd_ray.model.masking import Drawn, draw, maskable, masked_ids
from pmd_ray.spec.mask import MaskConfig
from pmd_ray.spec.ragged import Part, Ragged, TokenRows
from pmd_ray.spec.streams import UInts, row_keys

CLS, SEP, MASK, VOCABULARY = 2, 3, 4, 5000


def text(name: int, description: int = 0, neighbours: int = 0, relation: int | None = None) -> list[tuple[int, int]]:
    """(part, segment) of each token: one segment, or two with a relation."""
    body = [Part.NAME] * name + [Part.DESCRIPTION] * description + [Part.NEIGHBOUR] * neighbours
    tokens = [(int(part), 0) for part in [Part.SPECIAL, *body, Part.SPECIAL]]
    if relation is not None:
        tokens += [(int(Part.RELATION), 1)] * relation + [(int(Part.SPECIAL), 1)]
    return tokens


def rows_of(texts: list[list[tuple[int, int]]]) -> TokenRows:
    ids = [
        [CLS if not place else SEP if part == Part.SPECIAL else 100 + place for place, (part, _) in enumerate(tokens)]
        for tokens in texts
    ]
    parts = [[part for part, _ in tokens] for tokens in texts]
    segments = [[segment for _, segment in tokens] for tokens in texts]
    return TokenRows(Ragged.of(ids), Ragged.of(parts), Ragged.of(segments))


def keys_of(count: int, seed: int = 0) -> UInts:
    return row_keys(seed, np.arange(count))


def by_row(tokens: TokenRows, drawn: Drawn) -> list[list[tuple[int, int]]]:
    """(position, how often) of each row."""
    rows: list[list[tuple[int, int]]] = [[] for _ in range(len(tokens))]
    for place, weight in zip(drawn.places, drawn.weights, strict=True):
        row = int(np.searchsorted(tokens.ids.offsets, place, side="right")) - 1
        rows[row].append((int(place - tokens.ids.offsets[row]), int(weight)))
    return rows


def many(count: int, tokens: list[tuple[int, int]]) -> TokenRows:
    return rows_of([tokens] * count)


some_text = st.builds(text, st.integers(1, 5), st.integers(0, 30), st.integers(0, 6), st.none() | st.integers(1, 5))
some_mask = st.builds(
    lambda rate, positions, sampling, count, min_tokens: MaskConfig.model_validate(
        {"rate": rate, "positions": positions, "sampling": sampling, "count": count, "min_tokens": min_tokens}
    ),
    st.floats(0.01, 0.95),
    st.sampled_from(["no_special", "code", "description", "neighbours"]),
    st.sampled_from(["without_replacement", "with_replacement"]),
    st.sampled_from(["stochastic", "floor"]),
    st.sampled_from([0, 1]),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(some_text, min_size=1, max_size=8), some_mask, st.integers(0, 2**31))
def test_any_draw_obeys_its_configuration(texts: list[list[tuple[int, int]]], config: MaskConfig, seed: int) -> None:
    tokens = rows_of(texts)
    drawn = draw(tokens, keys_of(len(tokens), seed), config)
    assert (np.diff(drawn.places) > 0).all(), "places rise and none is named twice"
    rules: dict[str, Callable[[int, int, int], bool]] = {
        "no_special": lambda part, place, last: part != Part.SPECIAL,
        "code": lambda part, place, last: 0 < place < last,
        "description": lambda part, place, last: part == Part.DESCRIPTION,
        "neighbours": lambda part, place, last: part == Part.NEIGHBOUR,
    }
    legal = rules[config.positions]
    for row, found in zip(texts, by_row(tokens, drawn), strict=True):
        may = [place for place, (part, _) in enumerate(row) if legal(part, place, len(row) - 1)]
        assert {place for place, _ in found} <= set(may)
        total = sum(weight for _, weight in found)
        if config.sampling == "without_replacement":
            assert all(weight == 1 for _, weight in found)
        if not may:
            assert total == 0
        elif config.count == "floor":
            wanted = max(int(config.rate * len(row)), config.min_tokens)
            assert total == (wanted if config.sampling == "with_replacement" else min(wanted, len(may)))
        else:
            low = int(np.floor(config.rate * len(may)))
            assert max(low, config.min_tokens) <= total <= max(low + 1, config.min_tokens)


@settings(max_examples=60, deadline=None)
@given(st.lists(some_text, min_size=2, max_size=8), some_mask, st.randoms(use_true_random=False))
def test_a_rows_draw_knows_no_other_row(texts: list[Any], config: MaskConfig, luck: random.Random) -> None:
    """C21: the released masks depend on the number of workers. Permuted, left out, among others: the same draws."""
    keys = keys_of(len(texts))
    whole = by_row(rows_of(texts), draw(rows_of(texts), keys, config))
    chosen = luck.sample(range(len(texts)), luck.randint(1, len(texts)))
    tokens = rows_of([texts[row] for row in chosen])
    assert by_row(tokens, draw(tokens, keys[chosen], config)) == [whole[row] for row in chosen]


def test_other_keys_draw_otherwise() -> None:
    tokens = many(200, text(3, 20))
    config = MaskConfig(rate=0.2)
    one, two = (by_row(tokens, draw(tokens, keys_of(200, seed), config)) for seed in (1, 2))
    assert len({tuple(row) for row in one}) > 150
    assert sum(a == b for a, b in zip(one, two, strict=True)) < 10


@pytest.mark.parametrize("relation", [None, 3])
def test_no_special_never_masks_a_special_token(relation: int | None) -> None:
    tokens = many(400, text(2, 6, 3, relation))
    drawn = draw(tokens, keys_of(400), MaskConfig(rate=0.9))
    assert not (tokens.parts.values[drawn.places] == Part.SPECIAL).any()
    every = {place for row in by_row(tokens, drawn) for place, _ in row}
    assert every == {p for p, (part, _) in enumerate(text(2, 6, 3, relation)) if part != Part.SPECIAL}


def test_code_masks_the_middle_sep_and_the_relation() -> None:
    """2.7, C9: positions 1 to n - 2; the middle [SEP] of a query is as likely as any other."""
    row = text(4, 13, 0, 2)  # 22 tokens, [SEP] at 18
    tokens = many(3000, row)
    config = MaskConfig(rate=0.2, positions="code", sampling="with_replacement", count="floor")
    drawn = draw(tokens, keys_of(3000), config)
    hit = np.bincount([place for found in by_row(tokens, drawn) for place, _ in found], minlength=22)
    assert hit[0] == hit[21] == 0
    share = 1 - (1 - 1 / 20) ** 4  # 4 draws of 20 places: 18.5 % of queries, 21 % at WN18RR's lengths
    assert abs(hit[18] / 3000 - share) < 4 * np.sqrt(share * (1 - share) / 3000)
    assert (np.abs(hit[1:21] / 3000 - share) < 5 * np.sqrt(share * (1 - share) / 3000)).all()


@pytest.mark.parametrize(("length", "rate", "wanted"), [(19, 0.05, 0), (20, 0.05, 1), (50, 0.2, 10), (9, 0.1, 0)])
def test_floor_is_of_all_tokens(length: int, rate: float, wanted: int) -> None:
    """2.7, C7: int(rate * n), special tokens counted: at 5 % nothing is masked in texts under 20 tokens."""
    tokens = many(20, text(length - 2))
    drawn = draw(tokens, keys_of(20), MaskConfig(rate=rate, count="floor"))
    assert len(drawn.places) == 20 * wanted
    assert len(draw_positions(length, rate, random.Random(0).randint)) == wanted


@pytest.mark.parametrize(("maskable_tokens", "rate"), [(1, 0.05), (3, 0.05), (4, 0.2), (7, 0.3), (33, 0.2)])
def test_stochastic_rounding_keeps_the_rate_in_short_texts(maskable_tokens: int, rate: float) -> None:
    """C7: the floor would give 0 of 3 and 0 of 4; rounding to the nearest 1 of 4 or 0 of 3."""
    count = 10_000
    tokens = many(count, text(maskable_tokens))
    drawn = draw(tokens, keys_of(count), MaskConfig(rate=rate))
    expected = rate * maskable_tokens
    fraction = expected - np.floor(expected)
    error = np.sqrt(fraction * (1 - fraction) / count)
    assert abs(len(drawn.places) / count - expected) < 4 * error
    assert abs(np.floor(expected) - expected) > 20 * error, "a floor would fail"


def test_without_replacement_every_place_is_as_likely() -> None:
    count, places = 4000, 12
    tokens = many(count, text(places))
    drawn = draw(tokens, keys_of(count), MaskConfig(rate=0.25))
    hits = np.bincount([p for row in by_row(tokens, drawn) for p, _ in row], minlength=places + 2)[1:-1]
    assert len(drawn.places) == 3 * count
    assert (np.abs(hits / count - 0.25) < 5 * np.sqrt(0.25 * 0.75 / count)).all()


def test_with_replacement_repeats_as_theory_says() -> None:
    """2.7, C9: 10 draws of 48 places leave 9.13 distinct ones, 19.0 % in place of 20.8 %."""
    count = 4000
    tokens = many(count, text(48))
    config = MaskConfig(rate=0.2, positions="code", sampling="with_replacement", count="floor")
    drawn = draw(tokens, keys_of(count), config)
    assert int(drawn.weights.sum()) == 10 * count
    theory = 1 - (1 - 1 / 48) ** 10
    assert theory == pytest.approx(0.190, abs=0.001)
    luck = random.Random(1)
    literal = np.mean([len(set(draw_positions(50, 0.2, luck.randint))) for _ in range(count)]) / 48
    assert abs(len(drawn.places) / count / 48 - theory) < 0.001
    assert abs(literal - theory) < 0.001
    repeats = 1 - len(drawn.places) / drawn.weights.sum()
    assert repeats == pytest.approx(0.087, abs=0.005)


def test_min_tokens_masks_one_where_there_is_one() -> None:
    tokens = rows_of([text(3), text(1), text(2, 0, 0, 1), text(2, 4)] * 50)
    assert len(draw(tokens, keys_of(200), MaskConfig(rate=0.01, count="floor")).places) == 0
    drawn = draw(tokens, keys_of(200), MaskConfig(rate=0.01, count="floor", min_tokens=1))
    assert [len(row) for row in by_row(tokens, drawn)] == [1] * 200
    described = draw(tokens, keys_of(200), MaskConfig(rate=0.01, positions="description", min_tokens=1))
    assert [len(row) for row in by_row(tokens, described)] == [0, 0, 0, 1] * 50


def test_at_least_and_rate_override() -> None:
    tokens = many(30, text(9))
    drawn = draw(tokens, keys_of(30), MaskConfig(rate=0.0), rate=0.01, at_least=1)
    assert [len(row) for row in by_row(tokens, drawn)] == [1] * 30
    assert not len(draw(tokens, keys_of(30), MaskConfig(rate=0.0)).places)


def test_parts_follow_the_text() -> None:
    tokens = rows_of([text(2, 3, 2, 1)])
    allowed = {name: np.flatnonzero(maskable(tokens, name)).tolist() for name in ("description", "neighbours", "code")}
    assert allowed == {"description": [3, 4, 5], "neighbours": [6, 7], "code": list(range(1, 10))}


def test_mask_replaces_drawn_tokens_and_no_other() -> None:
    """C8: the clean ids stay as they are; nothing is masked in place."""
    tokens = many(50, text(3, 20))
    before = tokens.ids.values.copy()
    keys = keys_of(50)
    drawn = draw(tokens, keys, MaskConfig(rate=0.3))
    ids = masked_ids(tokens, drawn, keys, replace="mask", mask_id=MASK, vocabulary=VOCABULARY)
    assert np.array_equal(tokens.ids.values, before)
    assert np.array_equal(np.flatnonzero(ids.values != before), drawn.places)
    assert (ids.values[drawn.places] == MASK).all()


def test_80_10_10() -> None:
    tokens = many(3000, text(20))
    keys = keys_of(3000)
    drawn = draw(tokens, keys, MaskConfig(rate=0.5))
    ids = masked_ids(tokens, drawn, keys, replace="80_10_10", mask_id=MASK, vocabulary=VOCABULARY)
    new, old = ids.values[drawn.places], tokens.ids.values[drawn.places]
    count = len(drawn.places)
    shares = [(new == MASK).mean(), (new == old).mean(), ((new != MASK) & (new != old)).mean()]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=5 * np.sqrt(0.16 / count))
    other = new[(new != MASK) & (new != old)]
    assert other.min() >= 0 and other.max() < VOCABULARY and len(np.unique(other)) > 1000
    assert abs(other.mean() / VOCABULARY - 0.5) < 0.03
    untouched = np.setdiff1d(np.arange(len(ids.values)), drawn.places)
    assert np.array_equal(ids.values[untouched], tokens.ids.values[untouched])
    part = rows_of([text(20)] * 10)
    alone = masked_ids(
        part, draw(part, keys[:10], MaskConfig(rate=0.5)), keys[:10], replace="80_10_10", mask_id=MASK, vocabulary=5000
    )
    assert np.array_equal(alone.values, ids.values[: len(alone.values)]), "replacements know no other row either"


def test_attention_replaces_nothing() -> None:
    tokens = many(5, text(10))
    drawn = draw(tokens, keys_of(5), MaskConfig(rate=0.5))
    ids = masked_ids(tokens, drawn, keys_of(5), replace="attention", mask_id=MASK, vocabulary=VOCABULARY)
    assert ids is tokens.ids and len(drawn.places) == 25


def test_a_weighted_policy_prefers_heavy_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gumbel top-k: the first drawn token is drawn in proportion to its weight."""
    tokens = many(6000, text(4))
    weights = np.tile(np.log([1.0, 1.0, 2.0, 3.0, 4.0, 1.0]), 6000)
    policy = SimpleNamespace(log_weights=lambda rows: weights)
    config, with_replacement = MaskConfig(rate=0.25), MaskConfig(rate=0.25, sampling="with_replacement")
    monkeypatch.setattr("pmd_ray.model.masking.plugins.load", lambda kind, name: policy)
    drawn = draw(tokens, keys_of(6000), config)
    hits = np.bincount([p for row in by_row(tokens, drawn) for p, _ in row], minlength=6)
    assert hits[1:5] / 6000 == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.03)
    with pytest.raises(ValueError, match="without_replacement"):
        draw(tokens, keys_of(6000), with_replacement)


def test_no_rows() -> None:
    tokens = rows_of([])
    assert not len(draw(tokens, keys_of(0), MaskConfig(rate=0.5)).places)
