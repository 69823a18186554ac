"""A store: artifacts under their stage keys, attempts, leases, studies and work folders, on any storage."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pmd_ray.spec.attempt import Attempt, Manifest, Provenance
from pmd_ray.store.artifacts import ArtifactBroken, Artifacts
from pmd_ray.store.attempts import Attempts, AttemptWriter
from pmd_ray.store.datasets import Datasets
from pmd_ray.store.layout import LEASES, Warn, checked
from pmd_ray.store.leases import Busy, FileLeases, LeaseKeeper, kept_lease
from pmd_ray.store.local_artifacts import LocalArtifacts
from pmd_ray.store.local_folder import LocalFolder
from pmd_ray.store.location import open_medium
from pmd_ray.store.medium import Medium
from pmd_ray.store.remote_artifacts import RemoteArtifacts
from pmd_ray.store.studies import Studies
from pmd_ray.store.work import LocalWork, RemoteWork, Work

__all__ = ["ArtifactBroken", "AttemptWriter", "Busy", "LeaseKeeper", "Store"]

CACHE = Path("~/.cache/pmd_ray/artifacts")
"""Where artifacts of a remote store are copied to."""


class Store:
    """One store; open it in each process that uses it, by its `location`.

    Keys are stage keys (64 hexadecimal digits; ValueError for others). Whatever the storage refuses is a StorageError.
    """

    location: str
    """As given; of a local one the absolute path."""
    local: Path | None
    """The folder of a store on a local or network path."""
    lease_keeper: LeaseKeeper | None
    """Keeps the leases of a remote store; None: nobody does."""
    warn: Warn
    """Told of what is wrong but stops nothing; by default a log line."""
    medium: Medium
    artifacts: Artifacts
    datasets: Datasets

    def __init__(
        self, location: str, medium: Medium, *, artifacts: Artifacts, datasets: Datasets, work: Work, local: Path | None
    ) -> None:
        self.location, self.medium, self.local = location, medium, local
        self.artifacts, self.datasets = artifacts, datasets
        self.lease_keeper = None
        self.warn = logging.getLogger("pmd_ray.store").warning
        self._work = work
        self._leases = None if local is None else FileLeases(local / LEASES)
        self._attempts = Attempts(medium, lambda text: self.warn(text))
        self._studies = Studies(medium, lambda text: self.warn(text))

    @classmethod
    def open(
        cls, location: str | Path, *, create: bool = True, cache: Path | None = None, filesystem: Any = None
    ) -> Store:
        """The store at a location.

        Args:
            location: A folder, or an address that `pyarrow.fs` knows (`s3://bucket/folder`, `gs://`, `file://`).
            create: Make it where there is none, and see that it can be written to; without, it is opened to be read.
            cache: Where artifacts and graphs of a remote store are copied to (default: in `~/.cache/pmd_ray`).
            filesystem: A `pyarrow.fs.FileSystem` in which `location` is a path.

        Raises:
            UserError: something else lies there, no store, or one of another format.
            StorageError: read-only, full, or no answer within seconds.
        """
        medium = open_medium(location, create=create, filesystem=filesystem)
        if isinstance(medium, LocalFolder):
            root = medium.root
            artifacts, datasets = LocalArtifacts(medium), Datasets.in_folder(medium)
            return cls(str(root), medium, artifacts=artifacts, datasets=datasets, work=LocalWork(root), local=root)
        place = (cache or CACHE).expanduser().absolute()
        work = place / "work" / hashlib.sha256(medium.shown.encode()).hexdigest()[:12]
        store = cls(
            str(location),
            medium,
            artifacts=RemoteArtifacts(medium, place),
            datasets=Datasets.in_bucket(medium, cache),
            work=RemoteWork(medium, work, lambda text: store.warn(text)),
            local=None,
        )
        return store

    def has(self, key: str) -> bool:
        """Whether an artifact is there: one cheap look at its manifest."""
        return self.artifacts.has(checked(key))

    def stored(self, keys: Iterable[str]) -> set[str]:
        """Which of many artifacts are there."""
        return self.artifacts.stored(map(checked, keys))

    def manifest(self, key: str) -> Manifest | None:
        """An artifact's manifest; None where there is none that can be read."""
        return self.artifacts.manifest(checked(key))

    def publish(
        self, key: str, folder: Path, *, provenance: Provenance, seconds: float = 0.0, cpu_seconds: float = 0.0
    ) -> Manifest:
        """Move a finished local folder under its key in one atomic step; it is gone afterwards.

        Where an artifact is there already, the first one wins: its manifest is returned. Put the folder on the store's
        own file system (`work(key)`) to spare a copy.

        Raises:
            ValueError: the folder holds links, or no file.
            StorageError: the storage refuses; the folder is as it was.
        """
        return self.artifacts.publish(
            checked(key), folder, provenance=provenance, seconds=seconds, cpu_seconds=cpu_seconds
        )

    def fetch(self, key: str) -> Path:
        """A local folder with the artifact's files, for reading: its own place, or a copy on this machine.

        Sizes are checked each time, hashes once per process, and after a download.

        Raises:
            ArtifactBroken: it is not there, or not as it was published.
        """
        return self.artifacts.fetch(checked(key))

    def open_file(self, key: str, name: str) -> bytes:
        """One small file of an artifact, checked, without fetching all of it.

        Raises:
            ArtifactBroken: it is not there, or not as it was published.
        """
        return self.artifacts.open_file(checked(key), name)

    def verify(self, key: str) -> list[str]:
        """Every file that is missing, cut short or changed; empty where all is well. Reads everything."""
        return self.artifacts.verify(checked(key))

    def glance(self, key: str) -> list[str]:
        """What a quick look finds wrong: every file's size, and the hashes of small ones; empty where all seems well.

        Of a remote artifact only its manifest is looked at: the rest is checked when it is fetched.
        """
        return self.artifacts.glance(checked(key))

    def set_aside(self, key: str, reason: str) -> str:
        """Move a broken artifact to `aside/`, with the reason; where it lies now.

        One that is gone already is no error (the last place of that key, or an empty string), and one that is well
        stays (an empty string): another run has trained it again.
        """
        return self.artifacts.set_aside(checked(key), reason)

    def keys(self) -> list[str]:
        """The keys of all artifacts, broken ones too."""
        return self.artifacts.keys()

    def size(self, key: str) -> int:
        """Bytes of an artifact's files; 0 where there is none."""
        manifest = self.manifest(key)
        return manifest.size if manifest else 0

    def work(self, key: str) -> Path:
        """The folder for a stage's checkpoints while it trains: in the store, or on this machine for a remote one."""
        return self._work.folder(checked(key))

    def save_work(self, key: str) -> None:
        """After an epoch: copy the work folder to a remote store; nothing to do for a local one."""
        self._work.save(checked(key))

    def load_work(self, key: str) -> None:
        """Before training: bring back what a remote store has of the work folder; nothing to do for a local one."""
        self._work.load(checked(key))

    def clear_work(self, key: str) -> None:
        """Remove the work folder, here and in the store."""
        self._work.clear(checked(key))

    def begin(self, key: str, *, study: str | None, first_epoch: int | None = None) -> AttemptWriter:
        """Write an attempt as running, now; the caller holds the lease.

        Earlier attempts of the stage that are still called running become lost.
        """
        exclusive = self.local is not None or self.lease_keeper is not None
        return self._attempts.begin(checked(key), study=study, first_epoch=first_epoch, exclusive=exclusive)

    def call_pruned(self, key: str) -> None:
        """Say of a stage that a search stopped on purpose that its last attempt was ended early, not lost.

        Raises:
            StorageError: the storage refuses.
        """
        self._attempts.call_pruned(checked(key))

    def attempts(self, key: str | None = None) -> list[Attempt]:
        """The attempts of a stage in order, or all of them by stage; unreadable ones are left out with a warning."""
        return self._attempts.all() if key is None else self._attempts.of(checked(key))

    def lease(self, key: str) -> AbstractContextManager[None]:
        """Hold a stage while it is trained: `with store.lease(key): ...`.

        Raises:
            Busy: at once, where another process (or thread) has it.
        """
        if self._leases is not None:
            return self._leases.hold(checked(key))
        return kept_lease(self.lease_keeper, checked(key))

    def lease_held(self, key: str) -> bool:
        """Whether someone trains a stage now; of a remote store only its lease keeper knows."""
        if self._leases is not None:
            return self._leases.held(checked(key))
        return self.lease_keeper is not None and self.lease_keeper.held(checked(key))

    def register(self, name: str, record_json: str) -> None:
        """Write or replace a study's record; the stage keys in it are kept by `pmd store gc`.

        Raises:
            UserError: the name cannot be that of a file.
        """
        self._studies.register(name, record_json)

    def studies(self) -> dict[str, str]:
        """Every study's record by name; unreadable ones are left out with a warning."""
        return self._studies.all()

    def study(self, name: str) -> str | None:
        """One study's record; None where there is none, or, with a warning, none that can be read.

        Raises:
            UserError: the name cannot be that of a file.
        """
        return self._studies.one(name)

    def references(self) -> dict[str, list[str]]:
        """The stage keys that studies refer to, each with those studies' names.

        Raises:
            Unreadable: a study's record is garbage.
        """
        return self._studies.references()
