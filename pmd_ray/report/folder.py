"""The report's folder: every file is written aside and renamed, so that no half-written one is ever seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pmd_ray.spec.disk import storing


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block ends well.

    Raises:
        StorageError: The disk refuses; nothing is left behind, and an older file stays.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with storing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; StorageError where the disk refuses."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes; a file that holds them already is left alone. StorageError where the disk refuses."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    with aside(path) as beside:
        beside.write_bytes(content)


def remove_others(folder: Path, kept: set[Path], *, ours: Callable[[Path], bool]) -> None:
    """Remove what an earlier report left in a folder: files that are `ours` and not kept, then empty folders.

    Raises:
        StorageError: The disk refuses.
    """
    if not folder.is_dir():
        return
    with storing(folder):
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in kept and ours(path):
                path.unlink()
