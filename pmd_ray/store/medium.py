"""What a store needs of the storage under it: small documents, each written whole or not at all, and folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from pmd_ray.spec.disk import ALLOWED, refusal
from pmd_ray.spec.errors import StorageError

AT_ONCE = 16
"""Requests under way together: a bucket answers many in the time of one."""


class Entry(NamedTuple):
    """One name in a folder."""

    name: str
    """Of `tree`: the path below the folder."""
    folder: bool
    size: int
    """Bytes; 0 for a folder."""
    modified: float
    """Unix seconds by the storage's clock; 0 where it does not say."""


class Medium(Protocol):
    """A storage: a local folder, or a bucket. Paths are relative to the store, with slashes.

    Every method raises StorageError where the storage refuses.
    """

    @property
    def shown(self) -> str:
        """The storage's address, without secrets."""
        ...

    def where(self, path: str) -> str:
        """A path's full address, for messages."""
        ...

    def read(self, path: str) -> bytes | None:
        """A file's bytes, or None where there is none."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write or replace a file, whole or not at all."""
        ...

    def entries(self, folder: str) -> list[Entry]:
        """What lies in a folder, by name; empty where it is not there."""
        ...

    def tree(self, folder: str) -> list[Entry]:
        """All files below a folder, by path; empty where it is not there."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it; no error where it is gone."""
        ...


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn whatever keeps a local file or folder from being read into one StorageError.

    Raises:
        StorageError: what, where, and the way out.
    """
    try:
        yield
    except OSError as error:
        found = refusal(error)
        reason, way_out = (found.reason, found.way_out) if found else (error.strerror or str(error), ALLOWED)
        raise StorageError(f"{where} could not be read: {reason}; {way_out}") from error
