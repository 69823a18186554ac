"""What every storage of artifacts offers: published whole under a stage key, the first one wins, read by manifest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from pmd_ray.spec.attempt import Manifest, Provenance
from pmd_ray.spec.errors import PmdError, StorageError
from pmd_ray.store.layout import FORMAT, MANIFEST, Unreadable, read_record

NO_MANIFEST = f"{MANIFEST}: missing"


class ArtifactBroken(PmdError):
    """An artifact that is not there, or not as it was published."""

    def __init__(self, key: str, where: str, problems: Sequence[str]) -> None:
        self.key, self.where, self.problems = key, where, list(problems)
        shown = "; ".join(self.problems[:5]) + (f"; {len(problems) - 5} more" if len(problems) > 5 else "")
        super().__init__(f"the artifact in {where} is broken: {shown}; set it aside, and its stage is trained again")

    def __reduce__(self) -> tuple[type[ArtifactBroken], tuple[str, str, list[str]]]:
        return type(self), (self.key, self.where, self.problems)  # it may come from a worker


class Artifacts(Protocol):
    """Artifacts on one storage; keys are checked by the caller. All raise StorageError where the storage refuses."""

    def has(self, key: str) -> bool: ...

    def stored(self, keys: Iterable[str]) -> set[str]: ...

    def manifest(self, key: str) -> Manifest | None: ...

    def publish(
        self,
        key: str,
        folder: Path,
        *,
        provenance: Provenance,
        seconds: float = 0.0,
        cpu_seconds: float = 0.0,
        keep: bool = False,
    ) -> Manifest:
        """Publish a folder; with `keep` it stays where it is, else it is gone afterwards."""
        ...

    def fetch(self, key: str) -> Path: ...

    def open_file(self, key: str, name: str) -> bytes: ...

    def verify(self, key: str) -> list[str]: ...

    def glance(self, key: str) -> list[str]: ...

    def set_aside(self, key: str, reason: str) -> str: ...

    def remove(self, key: str) -> None:
        """Remove an artifact: it is gone at once or not at all."""
        ...

    def keys(self) -> list[str]: ...


def read_manifest(data: bytes, key: str, where: str) -> Manifest:
    """The manifest of that key.

    Raises:
        Unreadable: it is garbage, or that of another key.
        StorageError: a newer version wrote it.
    """
    manifest = read_record(Manifest, data, where)
    if manifest.format > FORMAT:
        raise StorageError(f"{where} was written by a newer pmd_ray (format {manifest.format}); upgrade pmd_ray")
    if manifest.key != key:
        raise Unreadable(f"{where} is that of another stage ({manifest.key[:12]})")
    return manifest


def manifest_bytes(manifest: Manifest) -> bytes:
    """A manifest as it is written."""
    return manifest.model_dump_json(indent=2).encode()
