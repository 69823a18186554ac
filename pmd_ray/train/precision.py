"""Precision of a training: fp32 on CPUs, bf16 autocast on GPUs unless the grade says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from pmd_ray.spec.chain_stages import uses_bf16
from pmd_ray.spec.optimiser import OptimiserConfig

Autocast = Callable[[], AbstractContextManager[Any]]


def autocast_for(config: OptimiserConfig, device: torch.device) -> Autocast:
    """A maker of the context that forward passes run in."""
    if not uses_bf16(config, device.type):
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
