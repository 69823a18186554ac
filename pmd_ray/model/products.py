"""Matrix products by the library that is fastest on this CPU.

torch sends float32 products on a CPU to MKL, which keeps to AVX2 on processors that are not Intel's. oneDNN, which
torch carries too, uses AVX-512 wherever it is there: 2.2 times as fast on an AMD EPYC of the fifth generation. Both add
up in float32, in an order of their own.

Shapes: T rows, I numbers in, O numbers out.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pmd_ray.spec.cpu import has_unused_avx512

ROWS = 32
"""What a number of rows is a multiple of: 2 % more than needed in groups of 1,024 tokens."""


def linear(layer: nn.Linear, x_TI: Tensor) -> Tensor:
    """[T, O] = x W^T + b, as the layer itself gives it but for the order of the sums.

    A layer that is more than its weights (a class of its own, hooks as of pruning or adapters) is asked itself.
    """
    plain = type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks
    if not plain or not _by_onednn(x_TI, layer.weight):
        out: Tensor = layer(x_TI)
        return out
    if torch.is_grad_enabled():
        out = _Linear.apply(x_TI, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
        return out
    return _onednn(x_TI, layer.weight, layer.bias)


def inner_products(left_TI: Tensor, right_OI: Tensor, *, room_TO: Tensor) -> Tensor:
    """[T, O] = left right^T, without gradients; in `room_TO` where the library can write to given memory."""
    if _by_onednn(left_TI, right_OI):
        return _onednn(left_TI, right_OI)
    return torch.mm(left_TI, right_OI.T, out=room_TO)


@functools.cache
def onednn_is_faster() -> bool:
    """Whether a CPU's float32 products go to oneDNN: by rule and not by trial, so that a machine repeats its digits.

    The operator is torch's own for compiled models, and no promise of it: where it is not as expected, it is not used.
    """
    if not has_unused_avx512() or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    try:
        return torch.equal(_onednn(torch.ones(1, 2), torch.ones(1, 2)), torch.full((1, 1), 2.0))
    except (AttributeError, RuntimeError):
        return False


def whole_rows(x_TI: Tensor) -> int:
    """How many rows to multiply at least, those of `x` included, where more of them would be as good.

    oneDNN keeps what it has prepared for each number of rows, and asks for memory in sizes that follow from it: of
    many different numbers a heap is left with more holes than data (1.7 GB after 1,200 products, 0.1 GB so).
    """
    rows = len(x_TI)
    return rows + -rows % ROWS if _by_onednn(x_TI) else rows


def _by_onednn(*operands: Tensor) -> bool:
    return (
        all(
            operand.device.type == "cpu"
            and operand.dtype == torch.float32
            and operand.dim() == 2
            and operand.numel() > 0
            for operand in operands
        )
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster()
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        of_x, of_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x_TI if of_weight else None, weight_OI if of_x else None)
        return _onednn(x_TI, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_TO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x_TI, weight_OI = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            _onednn(gradient_TO, weight_OI.T) if of_x else None,
            _onednn(gradient_TO.T, x_TI.T) if of_weight else None,
            gradient_TO.sum(0) if of_bias else None,
        )


def _onednn(left_TI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """[T, O] = left right^T + bias; either may be a view that is transposed."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(left_TI, right_OI, bias_O, "none", [], "")
    return out
