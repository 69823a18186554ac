"""Products by oneDNN are those of torch's own layers, up to the order of their sums."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import small
from torch import Tensor, nn
from torch.nn.functional import normalize

from pmd_ray.model import products
from pmd_ray.model.encode import encode, pack
from pmd_ray.model.products import inner_products, linear

UNIT = 2.0**-24
"""Unit roundoff of float32."""


@pytest.fixture(params=[True, False], ids=["oneDNN", "torch"])
def by_onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """oneDNN multiplies on every CPU; by itself the product takes it where it is faster."""
    monkeypatch.setattr(products, "onednn_is_faster", lambda: request.param)
    yield request.param


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


@pytest.mark.usefixtures("always_onednn")
def test_gradients_go_where_they_are_wanted() -> None:
    layer, x = nn.Linear(3, 2), torch.randn(4, 3)
    layer.weight.requires_grad_(False)
    linear(layer, x).sum().backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is None and layer.bias.grad is not None


@pytest.mark.usefixtures("always_onednn")
@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_are_no_error(rows: int) -> None:
    assert linear(nn.Linear(3, 2), torch.ones(rows, 3)).shape == (rows, 2)
    found = inner_products(torch.ones(rows, 3), torch.ones(5, 3), room_TO=torch.empty(rows, 5))
    assert torch.equal(found, torch.full((rows, 5), 3.0))


@pytest.mark.usefixtures("always_onednn")
@pytest.mark.parametrize("given_type", [torch.float64, torch.bfloat16])
def test_other_types_are_the_layers(given_type: torch.dtype) -> None:
    layer, x = nn.Linear(3, 2).to(given_type), torch.randn(4, 3).to(given_type)
    assert torch.equal(linear(layer, x), layer(x))


@pytest.mark.usefixtures("always_onednn")
def test_mixed_precision_is_the_layers() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(nn.Linear(3, 2), torch.randn(4, 3)).dtype == torch.bfloat16


def test_the_rule_decides(by_onednn: bool) -> None:
    layer, asked = nn.Linear(3, 2), []
    layer.register_forward_hook(lambda *_: asked.append(1))
    linear(layer, torch.randn(4, 3))
    assert bool(asked) is not by_onednn


def test_inner_products(by_onednn: bool) -> None:
    left, right, room = torch.randn(40, 30), torch.randn(64, 30), torch.empty(40, 64)
    found = inner_products(left, right, room_TO=room)
    assert ((found - left.double() @ right.double().T).abs() <= bound(left, right.T, terms=30)).all()
    assert (found is room) is not by_onednn


@pytest.mark.parametrize(("capability", "expected"), [("AVX2", False), ("AVX512", True), ("DEFAULT", False)])
def test_where_oneDNN_is_faster(capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert products.onednn_is_faster.__wrapped__() is expected


def test_vectors_of_either_way_are_within_1e_5(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = small.encoder_config(dropout=0.0)
    tower = small.model_of(small.student_grade(layers=3), encoder=encoder).hr.eval()
    packed = pack(small.texts_of(small.dense_graph()).entity_rows(np.arange(14)))
    found = []
    for chosen in (True, False):
        monkeypatch.setattr(products, "onednn_is_faster", lambda chosen=chosen: chosen)
        found.append(encode(tower, packed, pooling="mean").pooled_UD)
    torch.testing.assert_close(normalize(found[0], dim=1), found[1], rtol=0, atol=1e-5)
    assert found[0].shape[0] == 14
