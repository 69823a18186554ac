"""Device class and precision of a training: fp32 on CPUs, bf16 autocast on GPUs unless the grade says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from pmd_ray.spec.optimiser import OptimiserConfig

Autocast = Callable[[], AbstractContextManager[Any]]


def uses_bf16(config: OptimiserConfig, device: torch.device) -> bool:
    """Whether forward passes run in bf16."""
    return config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")


def autocast_for(config: OptimiserConfig, device: torch.device) -> Autocast:
    """A maker of the context that forward passes run in."""
    if not uses_bf16(config, device):
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


def device_class(config: OptimiserConfig, device: torch.device) -> str:
    """What of the machine may change a result, such as `cpu-fp32`."""
    return f"{device.type}-{'bf16' if uses_bf16(config, device) else 'fp32'}"
