"""Work folders: where a stage's checkpoints lie while it trains, copied after each epoch where the store is remote."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from pydantic import Field

from pmd_ray.spec.attempt import FileEntry, Record, utc_now
from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import StorageError
from pmd_ray.store.bucket import Bucket
from pmd_ray.store.files import entry_of, problems_of
from pmd_ray.store.layout import WORK, Unreadable, Warn, read_record

INDEX = "index.json"
UNFINISHED = (".aside", ".old")
"""Ends of the names of what is written aside: no part of a checkpoint."""

TRIES = 3


class Work(Protocol):
    """The work folders of a store's stages; all raise StorageError where disk or storage refuse."""

    def folder(self, key: str) -> Path:
        """A stage's folder on this machine, made where it is not there."""
        ...

    def save(self, key: str) -> None:
        """Make what lies in the folder survive this machine."""
        ...

    def load(self, key: str) -> None:
        """Bring what was saved last into the folder; what lies there already stays."""
        ...

    def clear(self, key: str) -> None:
        """Remove the folder and what was saved."""
        ...


class LocalWork:
    """`Work` inside a store on a path: saved as it is written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, key: str) -> Path:
        return _made(self._root / WORK / key)

    def save(self, key: str) -> None:
        pass

    def load(self, key: str) -> None:
        pass

    def clear(self, key: str) -> None:
        shutil.rmtree(self._root / WORK / key, ignore_errors=True)


class Index(Record):
    """What was saved: the files of one epoch, whose bytes lie under their hashes."""

    time: str
    files: tuple[FileEntry, ...] = Field(min_length=1)


class RemoteWork:
    """`Work` on this machine's disk, with a copy in a bucket."""

    def __init__(self, medium: Bucket, folder: Path, warn: Warn) -> None:
        self._medium = medium
        self._folder = folder
        self._warn = warn
        self._saved: dict[str, set[str]] = {}
        """Hashes that are in the bucket by our doing: another run's are not ours to remove."""

    def folder(self, key: str) -> Path:
        return _made(self._folder / key)

    def save(self, key: str) -> None:
        """New files, then the index, then what the index before named goes: an index never names what is not there."""
        folder = self.folder(key)
        before = self._saved.get(key, set())
        paths = list(_finished(folder))
        if not paths:
            return
        there = {entry.name for entry in self._medium.entries(f"{WORK}/{key}")}
        entries = tuple(self._sent(key, path, path.relative_to(folder).as_posix(), there) for path in paths)
        index = Index(time=utc_now(), files=entries)
        self._medium.write(f"{WORK}/{key}/{INDEX}", index.model_dump_json(indent=2).encode())
        now = {entry.sha256 for entry in entries}
        for old in before - now:
            self._medium.remove(f"{WORK}/{key}/{old}")
        self._saved[key] = now

    def load(self, key: str) -> None:
        index = self._index(key)
        if index is None:
            return
        folder = self.folder(key)
        if not problems_of(folder, index.files, hashes=True):  # this machine saved it
            self._saved[key] = {entry.sha256 for entry in index.files}
            return
        aside = folder.with_name(f".{key}.{token_hex(4)}.aside")
        try:
            sums = [self._medium.download(f"{WORK}/{key}/{e.sha256}", aside / e.path).sha256 for e in index.files]
            broken = [entry.path for entry, found in zip(index.files, sums, strict=True) if found != entry.sha256]
            if broken:
                place = self._medium.where(f"{WORK}/{key}")
                self._warn(f"{place}: checkpoints are incomplete ({', '.join(broken[:3])}); the stage starts anew")
                return
            with storing(folder):
                _merge(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self._saved[key] = {entry.sha256 for entry in index.files}

    def clear(self, key: str) -> None:
        shutil.rmtree(self._folder / key, ignore_errors=True)
        self._medium.remove(f"{WORK}/{key}/{INDEX}")
        self._medium.remove(f"{WORK}/{key}")
        self._saved.pop(key, None)

    def _index(self, key: str) -> Index | None:
        path = f"{WORK}/{key}/{INDEX}"
        data = self._medium.read(path)
        try:
            return None if data is None else read_record(Index, data, self._medium.where(path))
        except Unreadable as error:
            self._warn(f"{error}; the stage starts anew")
            return None

    def _sent(self, key: str, path: Path, name: str, there: set[str]) -> FileEntry:
        """Upload a file unless it is there; again where it grew meanwhile, as curves do."""
        for _ in range(TRIES):
            entry = entry_of(name, path)
            place = f"{WORK}/{key}/{entry.sha256}"
            if entry.sha256 in there or self._medium.upload(path, place).sha256 == entry.sha256:
                return entry
            self._medium.remove(place)
        raise StorageError(f"{path} keeps changing while it is saved; save it between two epochs")


def _finished(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.endswith(UNFINISHED) for part in parts):
            yield path


def _merge(source: Path, target: Path) -> None:
    """Rename what the target lacks into it, folders as a whole: a checkpoint is there with all its files or not."""
    for place in sorted(source.iterdir()):
        there = target / place.name
        if not there.exists():
            place.rename(there)
        elif there.is_dir() and place.is_dir():
            _merge(place, there)


def _made(folder: Path) -> Path:
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder
