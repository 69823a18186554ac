"""What the store keeps about training: attempts, where numbers come from, and what an artifact consists of."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import ConfigDict, Field, field_validator, model_validator

from pmd_ray.spec.base import Frozen

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A stage key."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class AttemptState(StrEnum):
    """How one try to train a stage stands."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    PRUNED = "pruned"
    FAILED = "failed"
    LOST = "lost"
    """Its process went away without a word."""


class FailureKind(StrEnum):
    """Why an attempt failed, by what follows from it."""

    OUT_OF_MEMORY = "oom"
    NOT_FINITE = "nan"
    TIMEOUT = "timeout"
    NODE_LOST = "node"
    """A node or a worker went away."""
    DISK = "disk"
    BUG = "bug"


class Record(Frozen):
    """A file of the store: what a later version adds within one format is left unread."""

    model_config = ConfigDict(extra="ignore")


class Attempt(Record):
    """One try to train a stage."""

    id: str
    """Sorts by time within a stage: a counter, the time, random digits."""
    key: Key
    state: AttemptState
    failure: FailureKind | None = None
    message: str | None = None
    """What the failure said."""
    traceback: str | None = None
    """Of the first failure, cut in the middle where it is long."""
    host: str
    pid: int
    study: str | None = None
    started: str
    """UTC, ISO 8601; for people: a clock may jump."""
    ended: str | None = None
    seconds: float = 0.0
    """Wall-clock by a clock that does not jump."""
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    first_epoch: int = 0
    """Epochs that were done before it: it resumed from there."""
    epochs_started: int = 0
    """In this attempt."""
    epochs_finished: int = 0


class Provenance(Record):
    """Where an artifact comes from; None is not known."""

    package: str
    """Version of pmd_ray."""
    commit: str | None = None
    """Of the checkout that the package lies in; None for an installed one."""
    dirty: bool | None = None
    """Whether the package differs from its commit."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of the packages that numbers depend on."""
    python: str | None = None
    platform: str | None = None
    host: str | None = None
    cpu: str | None = None
    """Model name."""
    cores: int | None = None
    """That the process may use."""
    memory_bytes: int | None = None
    """Of the machine."""
    gpus: tuple[str, ...] = ()
    """Model names."""
    dataset: str | None = None
    dataset_fingerprint: str | None = None
    encoder: str | None = None
    encoder_fingerprint: str | None = None
    command: str | None = None
    threads: int | None = None
    """Of one stage on a CPU."""


class FileEntry(Record):
    """One file of an artifact."""

    path: str
    """Relative, with slashes."""
    size: int = Field(ge=0)
    """Bytes."""
    sha256: Sha256

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        """A manifest may come from a shared storage: no file of it is ever written elsewhere."""
        pure = PurePosixPath(path)
        if not pure.parts or set(path) & {"\\", "\0"} or pure.is_absolute() or str(pure) != path or ".." in pure.parts:
            raise ValueError(f"must be a plain relative path, got {path!r}")
        return path


class Manifest(Record):
    """What an artifact consists of: a reader trusts only what it lists."""

    format: int = Field(ge=1)
    key: Key
    created: str
    """UTC, ISO 8601."""
    files: tuple[FileEntry, ...]
    folder: str = Field(default="", pattern=r"^[0-9a-z-]*$")
    """Where the files lie beside the manifest; empty: next to it."""
    seconds: float = 0.0
    """Wall-clock of training over all attempts."""
    cpu_seconds: float = 0.0
    provenance: Provenance

    @model_validator(mode="after")
    def _each_file_once(self) -> Manifest:
        if not self.files or len({entry.path for entry in self.files}) != len(self.files):
            raise ValueError("files must be there, each of them once")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)


def utc_now() -> str:
    """The time as the store writes it: UTC, ISO 8601, microseconds; sorts as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
