"""Losses of a large batch, some rows of its matrices at a time: the same value and gradients, and nothing large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pmd_ray.model import losses
from pmd_ray.model.losses import Product, Scores, lkd, scores
from pmd_ray.model.losses.label import label_loss
from pmd_ray.spec.loss import LabelLossConfig

WIDTH = 6
Loss = Callable[[Scores, Scores], Tensor]


class Batch:
    """Both models' vectors, and which pairs may count; each call of `scores` has leaves of its own."""

    def __init__(self, count: int, seed: int, *, head: bool, earlier: int, dtype: torch.dtype = torch.float64) -> None:
        self.luck, self.dtype, self.count = torch.Generator().manual_seed(seed), dtype, count
        self.vectors = {model: [self._unit(count) for _ in range(3)] for model in ("student", "teacher")}
        self.negative_BB = self._chance(count, count) & ~torch.eye(count, dtype=torch.bool)
        self.head_negative_B = self._chance(count) if head else None
        self.earlier_ND = self._unit(earlier) if earlier else None
        self.earlier_negative_BN = self._chance(count, earlier) if earlier else None

    def _unit(self, count: int) -> Tensor:
        return normalize(torch.randn(count, WIDTH, generator=self.luck, dtype=self.dtype), dim=-1)

    def _chance(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.luck) < 0.7

    def scores(self, model: str, *, by_rows: bool) -> tuple[Scores, list[Tensor]]:
        """And the vectors and temperature that they are made of."""
        mine = model == "student"
        hr_BD, tail_BD, head_BD = (each.clone().requires_grad_(mine) for each in self.vectors[model])
        inverse_t = torch.tensor(20.0 if mine else 31.0, dtype=self.dtype, requires_grad=mine)
        cosines = Product(hr_BD, tail_BD)
        earlier = Product(hr_BD, self.earlier_ND) if mine and self.earlier_ND is not None else None
        found = Scores(
            cosine_RB=cosines if by_rows else cosines[:],
            inverse_t=inverse_t,
            margin=0.02,
            negative_RB=self.negative_BB,
            head_cosine_R=None if self.head_negative_B is None else (hr_BD * head_BD).sum(-1),
            head_negative_R=self.head_negative_B,
            earlier_cosine_RN=earlier if by_rows or earlier is None else earlier[:],
            earlier_negative_RN=self.earlier_negative_BN if earlier is not None else None,
            earlier_weight=0.5,
        )
        return found, [hr_BD, tail_BD, head_BD, inverse_t]

    def of(self, loss: Loss, *, by_rows: bool, teacher_by_rows: bool | None = None) -> list[Tensor | None]:
        """The loss and the gradients of the student's vectors and temperature."""
        mine, leaves = self.scores("student", by_rows=by_rows)
        theirs, _ = self.scores("teacher", by_rows=by_rows if teacher_by_rows is None else teacher_by_rows)
        value = loss(mine, theirs)
        value.backward()
        return [value.detach(), *(leaf.grad for leaf in leaves)]


def label(**options: Any) -> Loss:
    return lambda mine, _: label_loss(mine, LabelLossConfig.model_validate(options))


def of_scores(**options: Any) -> Loss:
    return lambda mine, theirs: scores.score_loss(mine, theirs, scores.Options.model_validate(options))


def of_lkd(**options: Any) -> Loss:
    return lambda mine, theirs: lkd.lkd_loss(mine, theirs, lkd.Options.model_validate(options))


LABELS = st.builds(label, directions=st.sampled_from(["both_summed", "both_mean", "forward"]))
SHARED = {
    "margin": st.sampled_from(["none", "student", "both"]),
    "directions": st.sampled_from(["once", "both"]),
    "self_negative_column": st.sampled_from(["follow_ce", "exclude"]),
}
SCORES = st.builds(
    of_scores,
    space=st.sampled_from(["logits", "cosine", "softmax_kl", "margin"]),
    diagonal=st.booleans(),
    false_negatives=st.sampled_from(["exclude", "zero", "keep"]),
    **SHARED,
)
LKD = st.builds(
    of_lkd,
    space=st.sampled_from(["logits", "cosine"]),
    temperature=st.sampled_from([1.0, 4.0]),
    false_negatives=st.sampled_from(["exclude", "keep"]),
    **SHARED,
)


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(0, 5))
"""Queries of a batch, numbers at once, earlier tails."""


@given(LABELS | SCORES | LKD, SIZES, st.booleans(), st.integers(0, 99))
def test_rows_at_a_time_are_the_whole_matrix(loss: Loss, sizes: tuple[int, int, int], head: bool, seed: int) -> None:
    count, cells, earlier = sizes
    batch = Batch(count, seed, head=head, earlier=earlier)
    whole = batch.of(loss, by_rows=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "SCORE_CELLS", {"cpu": cells})
        parts = batch.of(loss, by_rows=True)
    for one, other in zip(parts, whole, strict=True):
        # A vector that a loss does not read has no gradient, or one of zeros.
        zero = torch.zeros(())
        torch.testing.assert_close(
            zero if one is None else one, torch.zeros_like(zero if one is None else one) if other is None else other,
            rtol=1e-10, atol=1e-10, check_dtype=False,
        )  # fmt: skip


class Largest(TorchDispatchMode):
    """The most numbers that a tensor made meanwhile has."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.numbers = max(
                [self.numbers, *(each.numel() for each in tree_leaves(made) if isinstance(each, Tensor))]
            )
        return made


@pytest.mark.parametrize(
    "loss",
    [
        label(directions="both_summed"),
        of_scores(),
        of_scores(space="margin"),
        of_scores(space="softmax_kl", directions="both"),
        of_lkd(directions="both"),
    ],
)
def test_nothing_large_is_made(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    count, cells = 256, 4096
    monkeypatch.setattr(losses, "SCORE_CELLS", {"cpu": cells})
    batch = Batch(count, 1, head=True, earlier=300)
    with Largest() as largest:
        batch.of(loss, by_rows=True)
    assert largest.numbers <= cells + count  # with the own head's column
    with Largest() as largest:
        batch.of(loss, by_rows=False)
    assert largest.numbers >= count**2


@pytest.mark.parametrize("mine", [False, True])
def test_one_model_by_rows_and_the_other_whole(mine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "SCORE_CELLS", {"cpu": 20})
    batch, loss = Batch(7, 1, head=True, earlier=0), of_lkd(directions="both")
    mixed, whole = batch.of(loss, by_rows=mine, teacher_by_rows=not mine), batch.of(loss, by_rows=False)
    for one, other in zip(mixed, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_in_fp32_they_agree_within_1e_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "SCORE_CELLS", {"cpu": 1000})
    batch = Batch(128, 1, head=True, earlier=64, dtype=torch.float32)
    for loss in (label(directions="both_summed"), of_scores(), of_lkd(directions="both")):
        for one, other in zip(batch.of(loss, by_rows=True), batch.of(loss, by_rows=False), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
