"""A run's own folder: held by one process at a time, its small files written whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pmd_ray.run.cluster import leads
from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import UserError


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the folder and hold its lock; it goes with the process, however that ends.

    Raises:
        UserError: another process holds it.
        StorageError: the folder cannot be made or written.
    """
    # Under torchrun all workers are one run: the first of them holds the lock.
    if not leads():
        yield
        return
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
        handle = (out / ".lock").open("w")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another run is at work in {out}; wait for it, or choose another --out") from None
        yield


def write_whole(path: Path, text: str) -> None:
    """Write a small file aside and rename it; under `torchrun` only the first process does."""
    if not leads():
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
