"""Values on their way to a device and back, none of which it or the host waits for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """The same values there. To a GPU from memory that is not paged, so that the copy waits for no kernel."""
    held = torch.as_tensor(values)
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held.to(device)


class ToHost:
    """Numbers that are copied once the device has made them, and waited for only when they are read."""

    def __init__(self, numbers_N: Tensor) -> None:
        self._numbers = numbers_N
        self._done: Any = None
        if numbers_N.device.type == "cuda":
            self._numbers = torch.empty_like(numbers_N, device="cpu", pin_memory=True)
            self._numbers.copy_(numbers_N, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()

    def read(self) -> list[float]:
        """[N] plain numbers."""
        if self._done is not None:
            self._done.synchronize()
        found: list[float] = self._numbers.tolist()
        return found
