"""How many operations a second training does: on a CPU from a matrix product timed for a moment, on a GPU assumed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pmd_ray.spec.cpu import has_unused_avx512

SIDE = 64
"""Of the matrices of a product: BLAS libraries do not share out so little work over threads."""
AT_ONCE = 100
"""Products between two looks at the clock."""
EFFICIENCY = 0.75
"""Of a small product's rate, what a training step reaches (0.5 to 0.65 of a large one's, measured on two cores)."""
EFFICIENCY_AVX512 = 1.6
"""The same where training uses AVX-512 (`model/products.py`) and numpy's library hardly does."""
PRODUCT_S = 0.1
"""Time spent on products."""
GPUS = {
    "H200": 200e12,
    "H100": 200e12,
    "GH200": 200e12,
    "B200": 350e12,
    "A100": 110e12,
    "L40": 70e12,
    "RTX 4090": 60e12,
    "A10": 40e12,
    "RTX 3090": 35e12,
    "L4": 35e12,
    "V100": 40e12,
    "T4": 20e12,
}
"""Operations a second in bf16 that training is taken to reach, by what the GPU's name holds: assumptions."""
UNKNOWN_GPU = 50e12
FP32_SHARE = 0.25
"""Of the rate in bf16: no tensor cores."""
DRIVER = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Rate:
    """Operations of training in a second of one CPU core, or of one GPU in bf16."""

    operations: float
    source: str
    """How it is known, in a few words."""

    def of(self, device: str) -> float:
        """For a device class such as `cuda-fp32`."""
        return self.operations * (FP32_SHARE if device == "cuda-fp32" else 1.0)


def cpu_rate() -> Rate:
    """Of small products, per CPU-second of one thread, so that neither threads nor other programs count."""
    left, right, out = (np.ones((SIDE, SIDE), dtype=np.float32) for _ in range(3))
    np.matmul(left, right, out=out)
    spent, end = list[float](), time.perf_counter() + PRODUCT_S
    while time.perf_counter() < end or len(spent) < 3:
        begun = time.thread_time()
        for _ in range(AT_ONCE):
            np.matmul(left, right, out=out)
        spent.append((time.thread_time() - begun) / AT_ONCE)
    efficiency = EFFICIENCY_AVX512 if has_unused_avx512() else EFFICIENCY
    rate = 2 * SIDE**3 / max(min(spent), 1e-7) * efficiency
    return Rate(rate, f"at {rate / 1e9:.0f} GFLOP/s a core (a product timed here, times {efficiency})")


def gpu_rate(name: str | None) -> Rate:
    """Assumed from the GPU's name."""
    words = f" {name} ".upper().replace("-", " ")
    for part, rate in GPUS.items():
        if f" {part} " in words:
            return Rate(rate, f"assuming {rate / 1e12:.0f} TFLOP/s on {name}")
    return Rate(UNKNOWN_GPU, f"assuming {UNKNOWN_GPU / 1e12:.0f} TFLOP/s, the GPU being unknown")


def gpu_name() -> str | None:
    """The model of the first GPU, as the driver says; None where it does not."""
    for told in sorted(DRIVER.glob("*/information")):
        for line in told.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return None
