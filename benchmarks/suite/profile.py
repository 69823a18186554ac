"""What a training step spends on each kind of operation: matrix products, attention, activations, copies, the rest.

Shares are those of a profiled step, seconds those of steps without a profiler. `products_over_limit` tells how much
slower the products of linear layers are where they stand, among operands that lie in no cache, than one large product.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.clock import Phases, interleaved
from benchmarks.inputs import Asked
from benchmarks.limit import Rate
from benchmarks.product import Product, training_of
from benchmarks.record import Case, shares
from benchmarks.suite.step import Work, stage_of, works
from pmd_ray.model.dropout import Drawn

PRODUCTS = "products of linear layers"
DRAWS = "dropout's draws"
KINDS = {
    "aten::mm": PRODUCTS,
    "aten::addmm": PRODUCTS,
    "mkldnn::_linear_pointwise": PRODUCTS,
    "aten::bmm": "attention",
    "aten::baddbmm": "attention",
    "aten::_softmax": "attention",
    "aten::_softmax_backward_data": "attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "attention",
    "aten::gelu": "GELU",
    "aten::gelu_backward": "GELU",
    "aten::native_layer_norm": "LayerNorm",
    "aten::native_layer_norm_backward": "LayerNorm",
    "aten::copy_": "copies",
    "aten::cat": "copies",
    "aten::index_select": "copies",
    "aten::index": "copies",
    "aten::mul": "sums and factors",
    "aten::mul_": "sums and factors",
    "aten::add": "sums and factors",
    "aten::add_": "sums and factors",
    "aten::addcmul": "sums and factors",
    "aten::sum": "sums and factors",
    "aten::fill_": "gradients set to zero",
    "aten::zero_": "gradients set to zero",
    "aten::_fused_adamw_": "optimiser",
    DRAWS: DRAWS,
}
REST = "the rest"


def cases(asked: Asked) -> Iterator[Case]:
    """The kinds of `step`."""
    for work, batch in works("profile", asked):
        yield one(work, batch, asked)


def one(work: Work, batch: int, asked: Asked) -> Case:
    """One kind of student at one batch."""
    product = Product(training_of(*stage_of(work, batch, asked)))
    product.tabulate(range(asked.repeat))
    product.warm()
    product.step(0)  # what the first large step pays for its memory is not asked here
    rate = Rate()
    seconds = interleaved({"ours": product.step, "rate": rate.measure}, asked.repeat)["ours"].seconds
    found = [by_kind(product.step, number) for number in range(asked.repeat)]
    spent = {kind: statistics.median(phases.get(kind, 0.0) for phases in found) for kind in found[0]}
    limit = rate.seconds(product.operations(0))
    return Case(
        name=f"profile: {work.name}",
        data=product.training.shop.graph.name,
        batch=len(product.queries(0)),
        ours_cpu_s=seconds,
        limit_cpu_s=limit,
        more={
            "shares": shares(spent),
            "products_over_limit": seconds * spent[PRODUCTS] / sum(spent.values()) / limit,
            "gflops_a_cpu_s": rate.per_second / 1e9,
            "repeat": asked.repeat,
        },
    )


def by_kind(step: Any, number: int) -> Phases:
    """Seconds of one step by kind."""
    drawn = Drawn.__call__

    def recorded(*arguments: Any, **named: Any) -> Any:
        with record_function(DRAWS):
            return drawn(*arguments, **named)

    with patch.object(Drawn, "__call__", recorded), profile(activities=[ProfilerActivity.CPU]) as seen:
        step(number)
    spent: Phases = {}
    for event in seen.key_averages():
        kind = KINDS.get(event.key, REST)
        spent[kind] = spent.get(kind, 0.0) + event.self_cpu_time_total / 1e6
    return spent
