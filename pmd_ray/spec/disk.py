"""A disk that refuses: known whichever library met it, and told with what helps."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pmd_ray.spec.errors import PmdError, StorageError

ELSEWHERE = "free some space or write elsewhere; what was finished before is whole"
ALLOWED = "choose a place that you may read and write, or change its permissions"
AWAY = "look whether the disk is well and the mount is there; what was finished before is whole"
WAYS_OUT: dict[int, str] = {
    errno.ENOSPC: ELSEWHERE,
    errno.EDQUOT: ELSEWHERE,
    errno.EFBIG: ELSEWHERE,
    errno.EACCES: ALLOWED,
    errno.EPERM: ALLOWED,
    errno.EROFS: ALLOWED,
    errno.EIO: AWAY,
    errno.ESTALE: AWAY,
    errno.ENXIO: AWAY,
    errno.EHOSTDOWN: AWAY,
    errno.ENOTDIR: "a file stands where a folder should; choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ELOOP: "a link leads back to itself; choose another path",
}
"""Failures of a disk or path, each with what helps; any other OSError is a bug of ours, unless we were writing."""
UNUSUAL = "choose a place where files can be made; what was finished before is whole"
"""What helps against any other failure to write."""

RUST_ERRNO = re.compile(r"\(os error (\d+)\)")
"""How safetensors and tokenizers (written in Rust) end their messages."""
TORCH_WRITER = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs")
"""All that `torch.save` says when a write falls short."""


@dataclass(frozen=True)
class Refusal:
    """Why the disk refused, and what helps."""

    reason: str
    way_out: str


def refusal(error: BaseException) -> Refusal | None:
    """The disk's refusal behind an exception, or None for anything else."""
    if isinstance(error, PmdError):
        return None
    code = _errno(error)
    if code in WAYS_OUT:
        return Refusal(os.strerror(code), WAYS_OUT[code])
    if isinstance(error, RuntimeError) and TORCH_WRITER.search(str(error)):
        return Refusal("the disk took only a part of a file (full, or a quota)", ELSEWHERE)
    return None


def storage_failure(error: BaseException) -> StorageError | None:
    """The disk's refusal in the user's words, with the file where the exception names it, or None."""
    found = refusal(error)
    if found is None:
        return None
    name = getattr(error, "filename", None)
    where = f": {os.fsdecode(name)}" if isinstance(name, str | bytes) else ""
    return StorageError(f"{found.reason}{where}; {found.way_out}")


@contextmanager
def storing(where: Path) -> Iterator[None]:
    """Turn whatever keeps a file or folder from being written into one StorageError.

    For the lines that write and no others: here every OSError is the disk's.

    Raises:
        StorageError: what, where, and the way out.
    """
    try:
        yield
    except Exception as error:
        found = _refused_write(error)
        if found is None:
            raise
        raise StorageError(
            f"{where} could not be written: {found.reason}; {found.way_out}; the same command goes on where it stopped"
        ) from error


@contextmanager
def new_folders(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; those that were not there go again, where empty, if what follows fails."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # something lies in it
            for place in made:
                place.rmdir()
        raise


def _refused_write(error: BaseException) -> Refusal | None:
    if isinstance(error, StorageError):  # an inner `storing` that knows the place less well
        return _refused_write(error.__cause__) if error.__cause__ else Refusal(str(error), ELSEWHERE)
    found = refusal(error)
    if found is not None or isinstance(error, PmdError):
        return found
    code = _errno(error)
    if code:
        return Refusal(os.strerror(code), UNUSUAL)
    return Refusal(str(error), UNUSUAL) if isinstance(error, OSError) else None


def _errno(error: BaseException) -> int:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = RUST_ERRNO.search(str(error))
    return int(found[1]) if found else 0
