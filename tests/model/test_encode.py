"""Grouping, padding and gradient caching change nothing: a tower equals plain transformers on one padded batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from reference import small
from torch import Tensor, nn
from torch.nn.functional import normalize

from pmd_ray.model import packed_bert
from pmd_ray.model.bi_encoder import word_weights
from pmd_ray.model.encode import Packed, Seeds, TowerPass, encode, pack
from pmd_ray.model.losses import States
from pmd_ray.model.masking import Drawn
from pmd_ray.model.outputs import Side
from pmd_ray.model.source import build_tower
from pmd_ray.spec.ragged import TokenRows

TEXTS = 11
EVERY = States(tokens=True, first=True, mean=True, watched=True, layers=(1, 3))
NAMES = ("pooled_UD", "tokens_KMD", "first_KUD", "mean_KUD", "watched_KUD")


def a_tower(*, dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> nn.Module:
    model = small.model_of(small.student_grade(layers=3), encoder=small.encoder_config(dropout=dropout))
    return model.hr.to(dtype)


def some_rows() -> TokenRows:
    """Queries of 5 to 50 tokens, a few of them equal."""
    graph = small.dense_graph()
    heads = np.array([0, 3, 5, 7, 7, 9, 11, 2, 1, 12, 13])
    return small.texts_of(graph).query_rows(heads, np.arange(TEXTS) % 6)


def watched_places(rows: TokenRows) -> np.ndarray:
    """Two tokens of every other text."""
    starts = rows.ids.offsets[:-1][::2]
    return np.sort(np.concatenate([starts + 1, starts + 3]))


@dataclass
class Plain:
    """One padded batch through transformers."""

    pooled_UD: Tensor
    tokens_KMD: Tensor
    first_KUD: Tensor
    mean_KUD: Tensor
    watched_KUD: Tensor


def watched_tokens(rows: TokenRows) -> Drawn:
    """Every third of them was drawn three times."""
    places = watched_places(rows)
    return Drawn(places, np.where(np.arange(len(places)) % 3 == 0, 3, 1))


def plain(
    tower: Any, rows: TokenRows, *, pooling: str = "mean", hidden: np.ndarray | None = None, layers: Any = (1, 3)
) -> Plain:
    count, longest = len(rows), int(rows.ids.lengths.max())
    ids, segments, attention = (torch.zeros(count, longest, dtype=torch.long) for _ in range(3))
    for row in range(count):
        length = int(rows.ids.lengths[row])
        ids[row, :length] = torch.tensor(rows.ids[row].tolist())
        segments[row, :length] = torch.tensor(rows.segments[row].tolist())
        attention[row, :length] = 1
    row_of = np.repeat(np.arange(count), rows.ids.lengths)
    if hidden is not None:
        attention[row_of[hidden], hidden - rows.ids.offsets[row_of[hidden]]] = 0
    out = tower(input_ids=ids, token_type_ids=segments, attention_mask=attention, output_hidden_states=True)
    last = out.last_hidden_state
    weight = attention[:, :, None].to(last.dtype)
    pooled = last[:, 0] if pooling == "cls" else (last * weight).sum(1) / weight.sum(1)
    watched = watched_places(rows)
    states = [out.hidden_states[layer] for layer in layers]
    tokens = [state[row_of[watched], watched - rows.ids.offsets[row_of[watched]]] for state in states]
    means = [(state * weight).sum(1) / weight.sum(1) for state in states]
    first = torch.stack([state[:, 0] for state in states])
    of_watched = torch.zeros(len(layers), *pooled.shape, dtype=pooled.dtype)
    weights = torch.as_tensor(watched_tokens(rows).weights, dtype=pooled.dtype)
    for row in set(row_of[watched].tolist()):
        mine = torch.as_tensor(row_of[watched] == row)
        for layer, state in enumerate(tokens):
            of_watched[layer, row] = (state[mine] * weights[mine, None]).sum(0) / weights[mine].sum()
    return Plain(normalize(pooled, dim=-1), torch.stack(tokens), first, torch.stack(means), of_watched)


def closeness(dtype: torch.dtype) -> dict[str, Any]:
    return {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_those_of_plain_transformers(dtype: torch.dtype, pooling: Any) -> None:
    """Section 7: sorting by length and packing into groups saves padding, and changes nothing."""
    tower, rows = a_tower(dtype=dtype).eval(), some_rows()
    with torch.no_grad():
        expected = plain(tower, rows, pooling=pooling)
    for group_rows in (1, 4, 64):
        packed = pack(rows, watched=watched_tokens(rows), group_rows=group_rows)
        assert len(packed.groups) == -(-TEXTS // group_rows)
        side = encode(tower, packed, pooling=pooling, states=EVERY)
        assert side.pooled_UD.dtype == dtype and not side.pooled_UD.requires_grad
        for name in NAMES:
            torch.testing.assert_close(getattr(side, name), getattr(expected, name), **closeness(dtype))


def test_a_text_does_not_see_its_neighbours_in_a_group() -> None:
    tower, rows = a_tower().eval(), some_rows()
    together = encode(tower, pack(rows), pooling="mean").pooled_UD
    order = np.random.default_rng(0).permutation(TEXTS)
    texts, heads = small.texts_of(small.dense_graph()), np.array([0, 3, 5, 7, 7, 9, 11, 2, 1, 12, 13])
    permuted = encode(tower, pack(texts.query_rows(heads[order], order % 6), group_rows=3), pooling="mean").pooled_UD
    torch.testing.assert_close(permuted, together[order], **closeness(torch.float64))


def test_hidden_tokens_take_no_part() -> None:
    """mask.replace: attention."""
    tower, rows = a_tower().eval(), some_rows()
    hidden = watched_places(rows)
    with torch.no_grad():
        expected = plain(tower, rows, hidden=hidden)
    states = States(mean=True, layers=(1, 3))
    side = encode(tower, pack(rows, hidden=hidden, group_rows=4), pooling="mean", states=states)
    torch.testing.assert_close(side.pooled_UD, expected.pooled_UD, **closeness(torch.float64))
    torch.testing.assert_close(side.mean_KUD, expected.mean_KUD, **closeness(torch.float64))
    assert not torch.allclose(side.pooled_UD, encode(tower, pack(rows), pooling="mean").pooled_UD)


def test_groups_hold_texts_of_similar_length() -> None:
    """C26, section 7: the released code pads all texts of a batch to its longest."""
    rows = some_rows()
    packed = pack(rows, group_rows=4)
    lengths = sorted(rows.ids.lengths.tolist())
    assert [group.longest for group in packed.groups] == [lengths[3], lengths[7], lengths[10]]
    assert sum(len(group.words) for group in packed.groups) == sum(lengths), "and only what cannot do without"
    assert packed.tokens == sum(lengths) and packed.texts == TEXTS
    assert packed.word_ids.tolist() == sorted(set(rows.ids.values.tolist()))


def weighted(side: Side | Plain) -> Tensor:
    """A loss that pulls every output in its own direction."""
    total = torch.zeros((), dtype=side.pooled_UD.dtype)
    for number, output in enumerate(getattr(side, name) for name in NAMES):
        assert output is not None
        luck = torch.Generator().manual_seed(number)
        total = total + (output * torch.randn(output.shape, generator=luck, dtype=output.dtype)).sum()
    return total


def a_pass(tower: nn.Module, packed: Packed, *, recompute: bool, states: States = EVERY, seed: int = 0) -> TowerPass:
    return TowerPass(tower, packed, pooling="mean", states=states, recompute=recompute, seeds=Seeds(seed, seed * 1000))


def gradients_after(tower: nn.Module, passed: TowerPass) -> dict[str, Tensor]:
    tower.zero_grad(set_to_none=True)
    weighted(passed.side).backward()  # type: ignore[no-untyped-call]
    passed.backward(small.gradients_of(passed.side))
    return gradients_of(tower)


def gradients_of(tower: nn.Module) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in tower.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_those_of_one_padded_batch(dtype: torch.dtype) -> None:
    """Gradient caching with groups of any size, and without: every weight, word embeddings included."""
    tower, rows = a_tower(dtype=dtype).train(), some_rows()
    weighted(plain(tower, rows)).backward()  # type: ignore[no-untyped-call]
    expected = gradients_of(tower)
    assert len(expected) == len(list(tower.parameters()))
    assert (expected["embeddings.word_embeddings.weight"] == 0).all(1).any(), "words that no text has"
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    for recompute, group_rows in ((True, 1), (True, 4), (True, 64), (False, 3), (False, 64)):
        packed = pack(rows, watched=watched_tokens(rows), group_rows=group_rows)
        found = gradients_after(tower, a_pass(tower, packed, recompute=recompute))
        assert found.keys() == expected.keys()
        scale = max(float(gradient.norm()) for gradient in expected.values())
        for name, gradient in expected.items():
            # The key bias has no gradient but rounding: softmax does not see a constant.
            error = float((found[name] - gradient).norm())
            assert error <= tolerance * max(float(gradient.norm()), 1e-2 * scale), (name, recompute, group_rows)


def test_gradients_add_up_over_passes() -> None:
    """A shared tower, or a second view of the batch: what is there already stays."""
    tower, rows = a_tower().train(), some_rows()
    packed = pack(rows, watched=watched_tokens(rows), group_rows=4)
    once = gradients_after(tower, a_pass(tower, packed, recompute=True))
    tower.zero_grad(set_to_none=True)
    for recompute in (True, False):
        passed = a_pass(tower, packed, recompute=recompute)
        weighted(passed.side).backward()  # type: ignore[no-untyped-call]
        passed.backward(small.gradients_of(passed.side))
    for name, gradient in gradients_of(tower).items():
        torch.testing.assert_close(gradient, 2 * once[name], rtol=1e-9, atol=1e-12)


def test_dropout_repeats_when_a_group_is_run_again() -> None:
    """Bitwise equal outputs and gradients with the graph kept and recomputed; another seed drops other units."""
    tower, rows = a_tower(dropout=0.3, dtype=torch.float32).train(), some_rows()
    packed = pack(rows, watched=watched_tokens(rows), group_rows=4)
    kept, again = (a_pass(tower, packed, recompute=recompute) for recompute in (False, True))
    other = a_pass(tower, packed, recompute=True, seed=1)
    assert torch.equal(kept.side.pooled_UD, again.side.pooled_UD)
    assert not torch.allclose(kept.side.pooled_UD, other.side.pooled_UD, atol=1e-3)
    first = gradients_after(tower, kept)
    torch.manual_seed(12345)  # whatever ran in between
    second = gradients_after(tower, again)
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        assert torch.equal(gradient, second[name]), name


@pytest.mark.parametrize("padded", [False, True])
def test_dropout_repeats_whichever_way(padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_bert, "fits", lambda _: not padded)
    test_dropout_repeats_when_a_group_is_run_again()


def test_a_text_drops_the_same_in_any_group_and_company() -> None:
    """`optimiser.micro_batch` and the number of workers change memory and time, not the result."""
    tower, rows = a_tower(dropout=0.3).train(), some_rows()
    numbers = np.arange(TEXTS) * 7 + 3

    def vectors(rows: TokenRows, numbers: np.ndarray | None, *, recompute: bool = False, **limits: int) -> Tensor:
        packed = pack(rows, numbers=numbers, **limits)
        return a_pass(tower, packed, recompute=recompute, states=States()).side.pooled_UD

    whole = vectors(rows, numbers)
    for limits in ({"group_rows": 1}, {"group_rows": 4}, {"group_tokens": 60}):
        torch.testing.assert_close(vectors(rows, numbers, recompute=True, **limits), whole, **closeness(torch.float64))
    chosen = np.array([9, 2, 4])
    few = TokenRows(rows.ids.take(chosen), rows.parts.take(chosen), rows.segments.take(chosen))
    apart = vectors(few, numbers[chosen])
    torch.testing.assert_close(apart, whole[chosen], **closeness(torch.float64))
    assert not torch.allclose(vectors(few, None), apart, atol=1e-3)


def test_every_group_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of torch's dropout, where a tower is padded."""
    tower, rows = a_tower().train(), some_rows()
    packed = pack(rows, watched=watched_tokens(rows), group_rows=4)
    for recompute, expected in ((False, [0, 1, 2]), (True, [0, 1, 2, 0, 1, 2])):
        called: list[int] = []
        monkeypatch.setattr(torch, "manual_seed", called.append)
        passed = TowerPass(tower, packed, pooling="mean", states=EVERY, recompute=recompute, seeds=Seeds(0, 0))
        for parameter in tower.parameters():
            parameter.grad = None
        passed.backward(small.gradients_of(passed.side))
        assert called == expected


def test_only_what_is_asked_for_is_handed_out() -> None:
    tower, rows = a_tower().eval(), some_rows()
    side = encode(tower, pack(rows), pooling="mean")
    assert [part.name for part in side.parts()] == ["pooled_UD"]
    passed = a_pass(tower, pack(rows), recompute=True, states=States())
    assert passed.side.tokens_KMD is None and passed.side.pooled_UD.is_leaf


def test_nothing_watched_gives_no_tokens() -> None:
    tower, rows = a_tower().train(), some_rows()
    packed = pack(rows, watched=Drawn.nothing(), group_rows=4)
    passed = a_pass(tower, packed, recompute=True)
    assert passed.side.tokens_KMD is not None and passed.side.tokens_KMD.shape == (2, 0, 32)
    assert passed.side.watched_KUD is not None and not passed.side.watched_KUD.any()
    assert gradients_after(tower, passed)


def test_a_pass_over_no_texts() -> None:
    """A worker's share of a last, small batch may be empty."""
    tower = a_tower().train()
    none = small.texts_of(small.dense_graph()).entity_rows(np.zeros(0, dtype=np.int64))
    packed = pack(none, watched=Drawn.nothing())
    assert encode(tower, packed, pooling="mean", states=EVERY).pooled_UD.shape == (0, 32)
    passed = a_pass(tower, packed, recompute=True)
    assert passed.side.tokens_KMD is not None and passed.side.tokens_KMD.shape == (2, 0, 32)
    passed.backward(small.gradients_of(passed.side))


def test_half_precision_leaves_as_fp32() -> None:
    """Losses see fp32 at least; under autocast, vectors are near those of fp32."""
    tower, rows = a_tower(dtype=torch.float32).eval(), some_rows()
    packed = pack(rows, watched=watched_tokens(rows))
    side = encode(
        tower, packed, pooling="mean", states=EVERY, autocast=lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    exact = encode(tower, packed, pooling="mean")
    assert [part.name for part in side.parts()] == list(NAMES)
    assert {part.tensor.dtype for part in side.parts()} == {torch.float32}
    torch.testing.assert_close(side.pooled_UD, exact.pooled_UD, rtol=0, atol=0.05)
    assert not torch.equal(side.pooled_UD, exact.pooled_UD)


def test_encoded_vectors_may_enter_any_loss() -> None:
    """Not inference tensors: a loss may save a teacher's vectors for its backward pass."""
    tower, rows = a_tower().eval(), some_rows()
    vectors = encode(tower, pack(rows), pooling="mean").pooled_UD
    weight = torch.ones_like(vectors, requires_grad=True)
    (weight * vectors).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None


def test_a_frozen_word_table_gets_no_gradient() -> None:
    tower, rows = a_tower().train(), some_rows()
    word_weights(tower).requires_grad_(False)
    packed = pack(rows, watched=watched_tokens(rows), group_rows=4)
    found = gradients_after(tower, a_pass(tower, packed, recompute=True))
    assert "embeddings.word_embeddings.weight" not in found and len(found) > 10


def test_eager_attention_agrees() -> None:
    """sdpa is an implementation, not another model."""
    tower, rows = a_tower().eval(), some_rows()
    config: Any = tower.config
    eager = build_tower(config)
    eager.set_attn_implementation("eager")  # type: ignore[operator]
    eager.load_state_dict(tower.state_dict())
    eager.double().eval()
    vectors = [encode(each, pack(rows), pooling="mean").pooled_UD for each in (tower, eager)]
    torch.testing.assert_close(vectors[0], vectors[1], **closeness(torch.float64))
