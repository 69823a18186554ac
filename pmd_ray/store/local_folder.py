"""A store's medium in a folder of this machine or of a network mount: written aside, synced, renamed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from secrets import token_hex

from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import StorageError
from pmd_ray.store.medium import Entry, reading


class LocalFolder:
    """`Medium` on a path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def shown(self) -> str:
        return str(self.root)

    def where(self, path: str) -> str:
        return str(self.root / path)

    def read(self, path: str) -> bytes | None:
        with reading(self.where(path)):
            try:
                return (self.root / path).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, path: str, data: bytes) -> None:
        final = self.root / path
        aside = final.with_name(f".{final.name}.{token_hex(4)}.aside")
        with storing(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                with aside.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(final)
            finally:
                aside.unlink(missing_ok=True)

    def entries(self, folder: str) -> list[Entry]:
        with reading(self.where(folder)):
            try:
                with os.scandir(self.root / folder) as found:
                    return sorted(_entry(place, place.name) for place in found)
            except FileNotFoundError:
                return []

    def tree(self, folder: str) -> list[Entry]:
        found: list[Entry] = []
        for entry in self.entries(folder):
            if entry.folder:
                below = self.tree(f"{folder}/{entry.name}")
                found += [inner._replace(name=f"{entry.name}/{inner.name}") for inner in below]
            else:
                found.append(entry)
        return sorted(found)

    def remove(self, path: str) -> None:
        place = self.root / path
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)  # another process may be removing it too
            if place.exists():
                raise StorageError(f"{place} could not be removed; remove it by hand, or change its permissions")
            return
        with storing(place):
            place.unlink(missing_ok=True)


def sync(place: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _entry(place: os.DirEntry[str], name: str) -> Entry:
    if place.is_dir(follow_symlinks=False):
        return Entry(name, True, 0, 0.0)
    try:
        stat = place.stat(follow_symlinks=False)
    except FileNotFoundError:  # gone since it was listed
        return Entry(name, False, 0, 0.0)
    return Entry(name, False, stat.st_size, stat.st_mtime)
