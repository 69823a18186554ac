"""What a trained model costs to use, and a training cost in memory: latency, peak resident and GPU memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from pmd_ray.kg.texts import Texts
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.encode import encode, pack
from pmd_ray.spec.base import Frozen
from pmd_ray.train.precision import Autocast

COSTS = "costs.json"
BATCHES = (1, 256)
REPEATS = {1: 7, 256: 3}
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class Costs(Frozen):
    """Beside a stage's metrics: they differ from run to run, so nothing of them enters a metric table."""

    latency_ms: dict[str, float]
    """Least milliseconds to encode a batch of so many queries: other work on the machine only adds to it."""
    peak_memory_bytes: int | None
    """Resident memory of the process that led the training, at its highest."""
    gpu_memory_bytes: int | None
    device: str
    threads: int


def latency_ms(
    model: BiEncoder, texts: Texts, device: torch.device, autocast: Autocast = nullcontext
) -> dict[str, float]:
    """Least time of a few to encode 1 and 256 queries of the graph, in milliseconds."""
    graph = texts.graph
    triples = np.concatenate([graph.test, graph.train])
    found = {}
    for batch in BATCHES:
        asked = triples[np.arange(batch) % len(triples)]
        rows = texts.query_rows(asked[:, 0], asked[:, 1])
        times = []
        for _ in range(REPEATS[batch] + 1):
            begun = time.perf_counter()
            encode(model.hr, pack(rows, device=device), pooling=model.pooling, autocast=autocast)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begun)
        found[str(batch)] = 1000 * min(times[1:])
    return found


class PeakMemory:
    """The highest resident memory of this process since `PeakMemory()`, as far as the system tells."""

    def __init__(self) -> None:
        give_back_memory()  # a warm worker still has what earlier stages used
        with contextlib.suppress(OSError):
            CLEAR.write_text("5", encoding="ascii")  # Linux: the high-water mark starts anew
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def resident(self) -> int | None:
        """Bytes; where the mark cannot be reset, of the process's whole life."""
        with contextlib.suppress(OSError):
            for line in STATUS.read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def gpu(self) -> int | None:
        """Bytes allocated on the GPU at the most; None without one."""
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def give_back_memory() -> None:
    """Return what is free to the system, so that resident memory is what is in use; glibc alone keeps it."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
