"""Graphs in a store, by fingerprint: published whole, the first one wins, copied once to each machine that reads one.

They lie as artifacts do (`datasets/FINGERPRINT/`, the manifest last), with the fingerprint in place of a stage key.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pmd_ray.spec.attempt import Manifest
from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import UserError
from pmd_ray.store.artifacts import ArtifactBroken, Artifacts
from pmd_ray.store.bucket import Bucket
from pmd_ray.store.layout import DATASETS, KEY
from pmd_ray.store.local_artifacts import LocalArtifacts
from pmd_ray.store.local_folder import LocalFolder
from pmd_ray.store.provenance import gather
from pmd_ray.store.remote_artifacts import RemoteArtifacts

COPIES = Path("~/.cache/pmd_ray/graphs")
"""Where graphs of a remote store are copied to."""

SHORT = 12
"""Digits of a fingerprint that are shown."""


@dataclass(frozen=True, kw_only=True)
class StoredGraph:
    """A graph that a store has."""

    name: str
    """As it was called when it was published."""
    fingerprint: str
    size: int
    """Bytes of its files."""
    created: str
    """UTC, ISO 8601."""

    @property
    def source(self) -> str:
        """As a study's `dataset.source` names it."""
        return f"{self.name}@{self.fingerprint[:SHORT]}"


class Datasets:
    """The graphs of one store.

    Args:
        artifacts: Where they lie.
        folder: On this machine, with a folder of each graph whose name begins with its fingerprint: the store's own,
            or copies of what was fetched.
        shown: The store's address, for messages.
        copied: Whether `folder` holds copies.
    """

    def __init__(self, artifacts: Artifacts, folder: Path, *, shown: str, copied: bool) -> None:
        self.folder = folder
        self._artifacts, self._shown, self._copied = artifacts, shown, copied

    @classmethod
    def in_folder(cls, medium: LocalFolder) -> Datasets:
        """Those of a store on a path."""
        graphs = LocalArtifacts(medium, part=DATASETS)
        return cls(graphs, medium.root / DATASETS, shown=medium.shown, copied=False)

    @classmethod
    def in_bucket(cls, medium: Bucket, cache: Path | None) -> Datasets:
        """Those of a store in a bucket, copied to a folder in `cache` (default `COPIES`)."""
        copies = (COPIES if cache is None else cache / "graphs").expanduser().absolute()
        return cls(RemoteArtifacts(medium, copies, part=DATASETS), copies, shown=medium.shown, copied=True)

    def publish(self, folder: Path, *, name: str, fingerprint: str, thorough: bool = False) -> bool:
        """Move a folder in the canonical layout under its fingerprint; False where it is there already.

        What is there and broken is set aside and published again.

        Args:
            thorough: Read all of what is there, however far away, to see whether it is whole.

        Raises:
            StorageError: the storage refuses; the folder is as it was.
        """
        if not KEY.fullmatch(fingerprint):
            raise ValueError(f"a fingerprint has 64 hexadecimal digits, got {fingerprint!r}")
        if self._artifacts.manifest(fingerprint) is not None:
            problems = self._artifacts.verify(fingerprint) if thorough else self._artifacts.glance(fingerprint)
            if not problems:
                return False
            self._artifacts.set_aside(fingerprint, "; ".join(problems))
        self._artifacts.publish(fingerprint, folder, provenance=gather(dataset=(name, fingerprint)))
        return True

    def fetch(self, digits: str) -> Path:
        """A local folder with the graph whose fingerprint begins so, every file checked by its hash.

        Raises:
            UserError: there is none, there are several, or it is broken.
            StorageError: the storage does not answer, or the disk refuses the copy.
        """
        fingerprint = self.named(digits)
        try:
            with self._alone(fingerprint) if self._copied else nullcontext():
                return self._artifacts.fetch(fingerprint)
        except ArtifactBroken as error:
            raise UserError(
                f"the graph {fingerprint[:SHORT]} in {error.where} is broken: {'; '.join(error.problems[:3])}; "
                f"publish it again with: pmd data push GRAPH --storage {self._shown}"
            ) from None

    def named(self, digits: str) -> str:
        """The one fingerprint that begins so.

        Raises:
            UserError: there is none, or there are several.
        """
        found = [key for key in self.keys() if key.startswith(digits)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{len(found)} graphs in {self._shown} begin with '{digits}'; give more digits")
        there = ", ".join(graph.source for graph in self.all()[:5])
        raise UserError(
            f"{self._shown} holds no graph with the fingerprint '{digits}' (there: {there or 'none'}); publish it "
            f"with: pmd data push GRAPH --storage {self._shown}"
        )

    def all(self) -> list[StoredGraph]:
        """Every graph, by name; those without a readable manifest are left out."""
        manifests = map(self._artifacts.manifest, self.keys())
        found = [_described(manifest) for manifest in manifests if manifest is not None]
        return sorted(found, key=lambda graph: (graph.name, graph.fingerprint))

    def manifest(self, fingerprint: str) -> Manifest | None:
        """A graph's manifest; None where there is none that can be read."""
        return self._artifacts.manifest(fingerprint)

    def keys(self) -> list[str]:
        """The fingerprints of all graphs."""
        return self._artifacts.keys()

    def remove(self, fingerprint: str) -> None:
        """Remove a graph from the store; copies on machines stay."""
        self._artifacts.remove(fingerprint)

    @contextmanager
    def _alone(self, fingerprint: str) -> Iterator[None]:
        """One process of a machine copies a graph, the others wait for it."""
        with storing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / f".{fingerprint}.lock").open("w")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _described(manifest: Manifest) -> StoredGraph:
    return StoredGraph(
        name=manifest.provenance.dataset or "graph",
        fingerprint=manifest.key,
        size=manifest.size,
        created=manifest.created,
    )
