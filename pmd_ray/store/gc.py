"""What a store no longer needs: found first, told, and looked at once more before it is removed.

Never what a study refers to, never what is leased, never an attempt.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from pmd_ray.store.layout import ARTIFACTS, ASIDE, DATASETS, INCOMING, KEY, WORK
from pmd_ray.store.leases import Busy
from pmd_ray.store.medium import Entry
from pmd_ray.store.store import Store

GRACE = 24 * 3600.0
"""Seconds that an upload or a checkpoint in a bucket is left alone: nobody can tell who is at work on it. A graph that
was published before the study that reads it is left alone for as long."""


class RubbishKind(StrEnum):
    """What can be removed."""

    ARTIFACT = "artifact"
    WORK = "work"
    GRAPH = "graph"
    ASIDE = "aside"
    UPLOAD = "upload"


@dataclass(frozen=True, kw_only=True)
class Rubbish:
    """One thing that nothing needs."""

    kind: RubbishKind
    path: str
    """In the store."""
    key: str
    size: int
    """Bytes."""
    why: str


def find_rubbish(store: Store) -> list[Rubbish]:
    """Everything that could go now.

    Raises:
        Unreadable: a study's record is garbage, and so nobody knows what it refers to.
        StorageError: the storage refuses.
    """
    wanted = store.references()
    found = [
        *_artifacts(store, wanted),
        *_graphs(store, wanted),
        *_work(store, wanted),
        *_asides(store),
        *_uploads(store),
    ]
    leased = {key for key in {item.key for item in found} if store.lease_held(key)}
    return [item for item in found if item.key not in leased]


def remove_rubbish(store: Store, found: Iterable[Rubbish]) -> list[Rubbish]:
    """Remove what was found and is still not needed, each stage under its lease; what went."""
    still = {(item.kind, item.path) for item in find_rubbish(store)}
    gone: list[Rubbish] = []
    for item in found:
        if (item.kind, item.path) not in still:
            continue
        with suppress(Busy), store.lease(item.key):
            match item.kind:
                case RubbishKind.ARTIFACT:
                    if item.key in store.references():  # of a study that began meanwhile
                        continue
                    store.artifacts.remove(item.key)
                case RubbishKind.GRAPH:
                    if item.key in store.references():
                        continue
                    store.datasets.remove(item.key)
                case RubbishKind.WORK:
                    store.clear_work(item.key)
                case RubbishKind.ASIDE:
                    store.medium.remove(f"{item.path}.json")
                    store.medium.remove(item.path)
                case RubbishKind.UPLOAD:
                    store.medium.remove(item.path)
            gone.append(item)
    return gone


def _artifacts(store: Store, wanted: dict[str, list[str]]) -> Iterator[Rubbish]:
    there = store.keys()
    for key in sorted(set(there) - set(wanted)):
        path = f"{ARTIFACTS}/{key}"
        size = _total(store.medium.tree(path))
        yield Rubbish(kind=RubbishKind.ARTIFACT, path=path, key=key, size=size, why="no study refers to it")


def _graphs(store: Store, wanted: dict[str, list[str]]) -> Iterator[Rubbish]:
    """A study's record names its graph by the whole fingerprint."""
    for key in sorted(set(store.datasets.keys()) - set(wanted)):
        path = f"{DATASETS}/{key}"
        files = store.medium.tree(path)
        if max((file.modified for file in files), default=0.0) <= time.time() - GRACE:
            why = "no study refers to it, and it is older than a day"
            yield Rubbish(kind=RubbishKind.GRAPH, path=path, key=key, size=_total(files), why=why)


def _work(store: Store, wanted: dict[str, list[str]]) -> Iterator[Rubbish]:
    keys = [entry.name for entry in store.medium.entries(WORK) if KEY.fullmatch(entry.name)]
    stored = store.stored(keys)
    for key in keys:
        files = store.medium.tree(f"{WORK}/{key}")
        if not files and store.local is None:  # the mark of a folder that was
            continue
        if key in stored:
            why = "checkpoints of a stage that is stored"
        elif key not in wanted and not _young(store, files):
            why = "checkpoints of a stage that no study refers to"
        else:
            continue
        yield Rubbish(kind=RubbishKind.WORK, path=f"{WORK}/{key}", key=key, size=_total(files), why=why)


def _asides(store: Store) -> Iterator[Rubbish]:
    for name in sorted({entry.name.removesuffix(".json") for entry in store.medium.entries(ASIDE)}):
        path, key = f"{ASIDE}/{name}", name.partition(".")[0]
        if KEY.fullmatch(key):
            size = _total(store.medium.tree(path))
            yield Rubbish(kind=RubbishKind.ASIDE, path=path, key=key, size=size, why="a broken artifact, set aside")


def _uploads(store: Store) -> Iterator[Rubbish]:
    """Copies and uploads that were never finished."""
    why = "left by a run that was killed while it published"
    for entry in store.medium.entries(INCOMING):
        key, path = entry.name.partition(".")[0], f"{INCOMING}/{entry.name}"
        if KEY.fullmatch(key):
            size = _total(store.medium.tree(path))
            yield Rubbish(kind=RubbishKind.UPLOAD, path=path, key=key, size=size, why=why)
    if store.local is not None:
        return
    for part, found in ((ARTIFACTS, store.manifest), (DATASETS, store.datasets.manifest)):
        for key in [entry.name for entry in store.medium.entries(part) if KEY.fullmatch(entry.name)]:
            manifest = found(key)
            for upload in store.medium.entries(f"{part}/{key}"):
                path = f"{part}/{key}/{upload.name}"
                files = store.medium.tree(path) if upload.folder else []
                of_another = manifest is None or manifest.folder not in ("", upload.name)
                if files and of_another and not _young(store, files):
                    yield Rubbish(kind=RubbishKind.UPLOAD, path=path, key=key, size=_total(files), why=why)


def _young(store: Store, files: list[Entry]) -> bool:
    """Whether a remote store's files may be somebody's who is at work."""
    return store.local is None and max((file.modified for file in files), default=0.0) > time.time() - GRACE


def _total(files: list[Entry]) -> int:
    return sum(file.size for file in files)
