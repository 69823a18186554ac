"""What this machine offers: cores, memory, GPUs, stages at once, read from the system without torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
DEVICES = Path("/dev")


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Memory of the machine, or of the container where that has less; None where neither tells."""
    found = []
    with contextlib.suppress(ValueError, OSError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in LIMITS:
        try:
            found.append(int(limit.read_text(encoding="ascii")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found, default=None)


def gpus(environment: Mapping[str, str]) -> int:
    """GPUs that CUDA_VISIBLE_DEVICES leaves of those that the NVIDIA driver shows."""
    there = sum(path.name[6:].isdecimal() for path in DEVICES.glob("nvidia[0-9]*"))
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    listed = [part for part in visible.split(",") if part.strip() not in ("", "-1")]
    return min(there, len(listed))


def stages_at_once(device: str, *, cpus: int, gpus_each: float = 1.0) -> int:
    """Stages that this machine holds at once, 1 or more.

    Args:
        device: `cpu` or `cuda`; GPUs alone count on the latter.
        cpus: Cores of each stage.
        gpus_each: GPUs of each stage; 0.5 lets two share one.
    """
    return max(1, int(gpus(os.environ) / gpus_each) if device == "cuda" else cores() // cpus)
