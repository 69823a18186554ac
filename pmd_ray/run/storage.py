"""Raises the disk's failures as errors that name the folder of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pmd_ray.spec.disk import storage_failure
from pmd_ray.spec.errors import StorageError


@contextmanager
def storage_failures_named(place: Path) -> Iterator[None]:
    """Raise the disk's failures inside as StorageError that names the folder written to; everything else passes."""
    try:
        yield
    except Exception as error:
        failure = storage_failure(error)
        if failure is None:
            raise
        raise StorageError(f"{place}: {failure}") from error
