"""The files of an artifact against its manifest: listed with sizes and hashes, and what differs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pmd_ray.spec.attempt import FileEntry
from pmd_ray.store.layout import MANIFEST
from pmd_ray.store.local_folder import sync


def plain_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file of a finished folder but the manifest: its relative path with slashes, and where it is.

    Raises:
        ValueError: a link, a socket or the like.
        FileNotFoundError: the folder is not there.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; there is nothing to publish")
    for place in sorted(folder.rglob("*")):
        name = place.relative_to(folder).as_posix()
        if place.is_symlink() or not (place.is_file() or place.is_dir()):
            raise ValueError(f"{place} is a link or no file; an artifact holds plain files only")
        if place.is_file() and name != MANIFEST:
            yield name, place


def entry_of(name: str, place: Path) -> FileEntry:
    """A file with its size and hash."""
    with place.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileEntry(path=name, size=file.tell(), sha256=digest.hexdigest())


def problems_of(folder: Path, entries: Iterable[FileEntry], *, hashes: bool) -> list[str]:
    """How a local folder differs from what a manifest says of its files; sizes always, hashes where asked for."""
    found: list[str] = []
    for entry in entries:
        place = folder / entry.path
        try:
            size = place.stat().st_size
            if size != entry.size:
                found.append(wrong_size(entry, size))
            elif hashes and entry_of(entry.path, place) != entry:
                found.append(wrong_hash(entry))
        except (FileNotFoundError, NotADirectoryError):
            found.append(missing(entry))
        except OSError as error:
            found.append(f"{entry.path}: {error.strerror or error}")
    return found


def data_problem(entry: FileEntry, data: bytes) -> str | None:
    """How a file's bytes differ from its entry."""
    if len(data) != entry.size:
        return wrong_size(entry, len(data))
    return None if hashlib.sha256(data).hexdigest() == entry.sha256 else wrong_hash(entry)


def missing(entry: FileEntry) -> str:
    """A file is not there."""
    return f"{entry.path}: missing"


def wrong_size(entry: FileEntry, size: int) -> str:
    """A file is cut short, or longer than it was."""
    return f"{entry.path}: {size:,} bytes instead of {entry.size:,}"


def wrong_hash(entry: FileEntry) -> str:
    """A file has other bytes than it had."""
    return f"{entry.path}: other bytes than were published (SHA-256)"


def sync_tree(folder: Path) -> None:
    """Flush every file of a folder to the disk, so that a rename never shows an empty one after a power cut."""
    for place in [*folder.rglob("*"), folder]:
        sync(place)
