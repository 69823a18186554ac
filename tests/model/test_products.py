"""Products by oneDNN are those of torch's own layers, up to the order of their sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import small
from reference.marks import needs_onednn
from torch import Tensor, nn
from torch.nn.utils import prune

from pmd_ray.model import products
from pmd_ray.model.encode import encode, pack
from pmd_ray.model.products import inner_products, linear

UNIT = 2.0**-24
"""Unit roundoff of float32."""


pytestmark = needs_onednn


@pytest.fixture(params=[True, False], ids=["oneDNN", "torch"])
def by_onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """oneDNN multiplies on every CPU; by itself the product takes it where it is faster."""
    monkeypatch.setattr(products, "onednn_is_faster", lambda: request.param)
    yield request.param


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each product that oneDNN made."""
    seen: list[int] = []
    real = products._onednn

    def onednn(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.append(len(left))
        return real(left, right, bias)

    monkeypatch.setattr(products, "_onednn", onednn)
    return seen


@pytest.fixture
def always_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


def bound(left: Tensor, right: Tensor, *, terms: int) -> Tensor:
    """What a float32 product may be wrong by, twice: Higham, Accuracy and Stability, eq. 3.5."""
    return 2 * (terms + 2) * UNIT * (left.double().abs() @ right.double().abs()) + 1e-30


@given(
    rows=st.integers(1, 70),
    inner=st.integers(1, 50),
    outer=st.integers(1, 70),
    biased=st.booleans(),
    turned=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_outputs_and_gradients_are_the_layers(
    rows: int, inner: int, outer: int, biased: bool, turned: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(inner, outer, bias=biased)
    x = (torch.randn(inner, rows).T if turned else torch.randn(rows, inner)).detach().requires_grad_()
    gradient = torch.randn(outer, rows).T if turned else torch.randn(rows, outer)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
        out = linear(layer, x)
        with torch.no_grad():
            assert torch.equal(linear(layer, x), out)
        out.backward(gradient)  # type: ignore[no-untyped-call]
    exact, weight, upper = x.detach().double(), layer.weight.detach().double(), gradient.double()
    assert x.grad is not None and layer.weight.grad is not None
    limit = bound(exact, weight.T, terms=inner + 1)
    wanted = exact @ weight.T
    if biased:
        wanted = wanted + layer.bias.detach().double()
        limit = limit + 2 * (inner + 2) * UNIT * layer.bias.detach().abs()
        assert layer.bias.grad is not None
        torch.testing.assert_close(layer.bias.grad, gradient.sum(0))
    assert ((out - wanted).abs() <= limit).all()
    assert ((x.grad - upper @ weight).abs() <= bound(upper, weight, terms=outer)).all()
    assert ((layer.weight.grad - upper.T @ exact).abs() <= bound(upper.T, exact, terms=rows)).all()


GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "one number for all": lambda out: out.sum(),
    "one for each row": lambda out: (out.sum(1) * torch.arange(len(out))).sum(),
    "one for each column": lambda out: (out.sum(0) * torch.arange(out.shape[1])).sum(),
    "of a few rows": lambda out: out[1:3].square().sum(),
    "of every other column": lambda out: out[:, ::2].square().sum(),
}


@pytest.mark.usefixtures("always_onednn")
@pytest.mark.parametrize("loss", GRADIENTS)
@pytest.mark.parametrize(("of_x", "of_weight"), [(True, True), (True, False), (False, True)])
def test_gradients_of_any_layout(loss: str, of_x: bool, of_weight: bool, used: list[int]) -> None:
    layer, x = nn.Linear(5, 6), torch.randn(7, 5, requires_grad=of_x)
    layer.weight.requires_grad_(of_weight)
    leaves = [leaf for leaf in (x, *layer.parameters()) if leaf.requires_grad]
    found = torch.autograd.grad(GRADIENTS[loss](linear(layer, x)), leaves)
    assert len(used) == 1 + of_x + of_weight
    for mine, plain in zip(found, torch.autograd.grad(GRADIENTS[loss](layer(x)), leaves), strict=True):
        torch.testing.assert_close(mine, plain)


@pytest.mark.usefixtures("always_onednn")
@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_are_no_error(rows: int) -> None:
    assert linear(nn.Linear(3, 2), torch.ones(rows, 3)).shape == (rows, 2)
    found = inner_products(torch.ones(rows, 3), torch.ones(5, 3), room_TO=torch.empty(rows, 5))
    assert torch.equal(found, torch.full((rows, 5), 3.0))
    assert inner_products(torch.ones(rows, 3), torch.ones(0, 3), room_TO=torch.empty(rows, 0)).shape == (rows, 0)


@pytest.mark.usefixtures("always_onednn")
@pytest.mark.parametrize("given_type", [torch.float64, torch.bfloat16])
def test_other_types_are_the_layers(given_type: torch.dtype) -> None:
    layer, x = nn.Linear(3, 2).to(given_type), torch.randn(4, 3).to(given_type)
    assert torch.equal(linear(layer, x), layer(x))


@pytest.mark.usefixtures("always_onednn")
def test_mixed_precision_is_the_layers() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(nn.Linear(3, 2), torch.randn(4, 3)).dtype == torch.bfloat16


def test_the_rule_decides(by_onednn: bool, used: list[int]) -> None:
    linear(nn.Linear(3, 2), torch.randn(4, 3))
    assert used == ([4] if by_onednn else [])


class Doubled(nn.Linear):
    """A layer that does more than its weights say."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.usefixtures("always_onednn")
def test_layers_that_are_more_than_their_weights_are_asked(used: list[int]) -> None:
    torch.manual_seed(0)
    hooked, pruned, x = nn.Linear(3, 2), nn.Linear(3, 2), torch.randn(4, 3)
    hooked.register_forward_hook(lambda module, given, out: out + 1)
    prune.random_unstructured(pruned, "weight", amount=0.5)  # type: ignore[no-untyped-call]
    for layer in (Doubled(3, 2), hooked, pruned):
        assert torch.equal(linear(layer, x), layer(x))
    assert linear(nn.Linear(3, 2), torch.randn(5, 4, 3)).shape == (5, 4, 2)
    assert used == []


@pytest.mark.usefixtures("always_onednn")
def test_it_can_be_switched_off_as_torch_is(used: list[int]) -> None:
    assert torch.backends.mkldnn.enabled
    torch._C._set_mkldnn_enabled(False)
    try:
        linear(nn.Linear(3, 2), torch.randn(4, 3))
    finally:
        torch._C._set_mkldnn_enabled(True)
    assert used == []


@pytest.mark.parametrize(("rows", "whole"), [(1, 32), (32, 32), (33, 64), (1000, 1024)])
def test_rows_are_as_many_as_a_product_likes(by_onednn: bool, rows: int, whole: int) -> None:
    assert products.whole_rows(torch.ones(rows, 2)) == (whole if by_onednn else rows)
    assert products.whole_rows(torch.ones(rows, 2, dtype=torch.float64)) == rows


def test_inner_products(by_onednn: bool) -> None:
    left, right, room = torch.randn(40, 30), torch.randn(64, 30), torch.empty(40, 64)
    found = inner_products(left, right, room_TO=room)
    assert ((found - left.double() @ right.double().T).abs() <= bound(left, right.T, terms=30)).all()
    assert (found is room) is not by_onednn


@pytest.mark.parametrize(
    ("unused", "capability", "expected"), [(True, "AVX512", True), (True, "AVX2", False), (False, "AVX512", False)]
)
def test_where_it_is_faster(unused: bool, capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MKL leaves AVX-512 unused, and torch may use it (ATEN_CPU_CAPABILITY)."""
    monkeypatch.setattr(products, "has_unused_avx512", lambda: unused)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert products.onednn_is_faster.__wrapped__() is expected


@pytest.mark.parametrize("trouble", [AttributeError("no such operator"), RuntimeError("another signature")])
def test_where_torch_has_it_no_more(trouble: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "has_unused_avx512", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(products, "_onednn", mock.Mock(side_effect=trouble))
    assert products.onednn_is_faster.__wrapped__() is False


def test_vectors_of_either_way_are_within_1e_5(monkeypatch: pytest.MonkeyPatch, used: list[int]) -> None:
    encoder = small.encoder_config(dropout=0.0)
    tower = small.model_of(small.student_grade(layers=3), encoder=encoder).hr.eval().float()
    packed = pack(small.texts_of(small.dense_graph()).entity_rows(np.arange(14)), group_tokens=70)
    found, counts = [], []
    for chosen in (True, False):
        monkeypatch.setattr(products, "onednn_is_faster", lambda chosen=chosen: chosen)
        found.append(encode(tower, packed, pooling="mean").pooled_UD)
        counts.append(len(used))
    assert counts == [len(packed.groups) * 3 * 6] * 2 and all(rows % products.ROWS == 0 for rows in used)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)
