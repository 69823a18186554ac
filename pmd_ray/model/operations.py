"""Floating-point operations that an encoder cannot do without, and how many a machine's plain product does a second.

Counted are the matrix products of the layers alone, without padding: 8 D^2 + 4 D F operations a token and 4 n^2 D a
text of n tokens (D width, F width of the feed-forward part), for each layer. A backward pass is twice its forward pass.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from pmd_ray.model.products import inner_products

WITH_BACKWARD = 3.0
"""A forward and a backward pass, in forward passes."""
TIMED_S = 0.1
AT_ONCE = {"cuda": 100}
"""Products between two looks at the clock: a GPU must be waited for each time."""
ROWS = {"cpu": 1 << 10, "cuda": 1 << 14}
"""Of the product that is timed: about as many as a group of texts has tokens."""


def forward_operations(lengths: np.ndarray, config: Any, layers: int) -> float:
    """Floating-point operations of one forward pass over texts of those lengths [U], each as long as it is.

    Args:
        lengths: Tokens of each text, special ones included; padded ones too where that is what is to be counted.
        config: The tower's Hugging Face configuration.
        layers: Transformer layers.
    """
    width, inner = int(config.hidden_size), int(config.intermediate_size)
    tokens, pairs = float(lengths.sum()), float(np.square(lengths.astype(np.float64)).sum())
    return layers * (tokens * (8 * width * width + 4 * width * inner) + pairs * 4 * width)


def product_rate(
    width: int, device: torch.device, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> float:
    """Operations a second of a product [rows, D] x [4 D, D]^T, an encoder's largest.

    Timed for a moment, once in a process: later calls give the same.

    Args:
        width: D.
        device: Where; with the threads that torch uses there.
        autocast: Makes the context for mixed precision (bfloat16).
    """
    with autocast():
        half = torch.is_autocast_enabled(device.type)
    return _timed(width, device, torch.get_num_threads(), half)


@functools.lru_cache(maxsize=64)
def _timed(width: int, device: torch.device, threads: int, half: bool) -> float:
    rows = ROWS.get(device.type, ROWS["cpu"])
    dtype = torch.bfloat16 if half else torch.float32
    left = torch.randn(rows, width, device=device, dtype=dtype)
    right = torch.randn(4 * width, width, device=device, dtype=dtype)
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        _products(left, right, 1)  # the first one loads kernels
        count, begun = 0, time.perf_counter()
        at_once = AT_ONCE.get(device.type, 1)
        while (spent := time.perf_counter() - begun) < TIMED_S or count < 3:
            _products(left, right, at_once)
            count += at_once
    return count * 2 * rows * width * 4 * width / spent


def _products(left: torch.Tensor, right: torch.Tensor, count: int) -> None:
    room = left.new_empty(len(left), len(right))
    for _ in range(count):
        inner_products(left, right, room_TO=room)
    if left.device.type == "cuda":
        torch.cuda.synchronize()
