"""The operations that are counted are those that are done: no more, since nothing is padded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reference import small
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pmd_ray.model import operations, packed_bert
from pmd_ray.model.encode import encode, pack
from pmd_ray.model.operations import forward_operations, product_rate


@pytest.mark.parametrize("group_tokens", [20, 1000])
def test_a_forward_pass_does_what_is_counted(group_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its attention kernels torch counts the plain one alone on a CPU."""
    model = small.model_of(small.student_grade(layers=3), encoder=small.encoder_config())
    rows = small.texts_of(small.dense_graph()).entity_rows(np.arange(12))
    packed = pack(rows, group_tokens=group_tokens)

    def counted() -> int:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            encode(model.tail.eval(), packed, pooling="mean")
        return int(counter.get_total_flops())

    needed = forward_operations(rows.ids.lengths, model.config, 3)
    assert counted() == needed
    monkeypatch.setattr(packed_bert, "fits", lambda _: False)
    padded = sum(forward_operations(np.full(len(g.rows), g.longest), model.config, 3) for g in packed.groups)
    assert counted() == padded
    assert padded > needed or group_tokens < 1000


def test_a_product_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "TIMED_S", 0.001)
    operations._timed.cache_clear()
    device = torch.device("cpu")
    first = product_rate(32, device)
    assert first > 0
    times: list[Any] = []
    monkeypatch.setattr(operations.time, "perf_counter", lambda: times.append(None))
    assert product_rate(32, device) == first and not times
    operations._timed.cache_clear()
