"""What this machine's CPU can do that common libraries of linear algebra do not use."""

from __future__ import annotations

from pathlib import Path

TOLD = Path("/proc/cpuinfo")
"""By Linux; elsewhere nothing is known."""


def has_unused_avx512() -> bool:
    """Whether MKL and OpenBLAS leave its AVX-512 unused: both do on AMD's CPUs."""
    told = TOLD.read_text(encoding="utf-8", errors="replace") if TOLD.is_file() else ""
    return "AuthenticAMD" in told and " avx512f " in told
