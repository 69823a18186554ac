"""Where an artifact comes from: code, packages, machine, data, command. Gathered once per process, then at hand."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pmd_ray import __version__
from pmd_ray.spec.attempt import Provenance
from pmd_ray.store.location import without_secrets

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "ray", "optuna", "numpy", "pyarrow", "pydantic")
"""Whose versions may change a number."""
PACKAGE = Path(__file__).resolve().parents[1]
TIME_LIMIT = 5.0
"""Seconds for a program that is asked."""


def gather(
    *,
    dataset: tuple[str, str] | None = None,
    encoder: tuple[str, str] | None = None,
    command: str | Sequence[str] | None = None,
    threads: int | None = None,
) -> Provenance:
    """What is known of this process, with what it works on.

    Args:
        dataset: Name and fingerprint.
        encoder: Likewise.
        command: The command line; by default that of this process.
        threads: Of one stage on a CPU.
    """
    line = sys.argv if command is None else command
    told = {
        "command": without_secrets(line if isinstance(line, str) else shlex.join(line)),
        "threads": threads,
        "dataset": dataset[0] if dataset else None,
        "dataset_fingerprint": dataset[1] if dataset else None,
        "encoder": encoder[0] if encoder else None,
        "encoder_fingerprint": encoder[1] if encoder else None,
    }
    return _machine().model_copy(update=told)


def checkout(package: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout in which a package's files are tracked, and whether they differ from it.

    (None, None) for an installed package, even where its environment lies in somebody's repository.
    """
    if _asked("git", "-C", str(package), "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _asked("git", "-C", str(package), "rev-parse", "HEAD")
    changed = _asked("git", "-C", str(package), "status", "--porcelain", "--", ".")
    return commit, None if changed is None else bool(changed)


@cache
def _machine() -> Provenance:
    commit, dirty = checkout(PACKAGE)
    return Provenance(
        package=__version__,
        commit=commit,
        dirty=dirty,
        versions={name: found for name in PACKAGES if (found := _version(name))},
        python=platform.python_version(),
        platform=platform.platform(),
        host=socket.gethostname(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_bytes=_memory(),
        gpus=_gpus(),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Hardware|cpu model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine() or None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _gpus() -> tuple[str, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    names = _asked("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return tuple(name.strip() for name in (names or "").splitlines() if name.strip())


def _asked(*command: str) -> str | None:
    """What a program says, or None where it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
