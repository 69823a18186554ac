"""Tells the disk's failures from bugs, whichever library ran into them, each with what helps."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pmd_ray.spec.errors import StorageError

ELSEWHERE = "free some space or write elsewhere; what was finished before is whole"
ALLOWED = "choose a place that you may read and write, or change its permissions"
WAYS_OUT: dict[int, str] = {
    errno.ENOSPC: ELSEWHERE,
    errno.EDQUOT: ELSEWHERE,
    errno.EFBIG: ELSEWHERE,
    errno.EACCES: ALLOWED,
    errno.EPERM: ALLOWED,
    errno.EROFS: ALLOWED,
    errno.ENOTDIR: "a file stands where a folder should; choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ELOOP: "a link leads back to itself; choose another path",
}
"""Failures of a disk or path, each with what helps; any other OSError is a bug of ours."""

RUST_ERRNO = re.compile(r"\(os error (\d+)\)")
"""How safetensors and tokenizers (written in Rust) end their messages."""
TORCH_WRITER = re.compile(r"inline_container\.cc.*unexpected pos|PytorchStreamWriter failed writing")
"""All that `torch.save` says when a write falls short."""


def storage_failure(error: BaseException) -> StorageError | None:
    """The disk's failure behind an exception in the user's words, or None for anything else."""
    code = _errno(error)
    if code in WAYS_OUT:
        name = getattr(error, "filename", None)
        where = f": {os.fsdecode(name)}" if isinstance(name, str | bytes) else ""
        return StorageError(f"{os.strerror(code)}{where}; {WAYS_OUT[code]}")
    if isinstance(error, RuntimeError) and TORCH_WRITER.search(str(error)):
        return StorageError(f"the disk took only a part of a file (full, or a quota); {ELSEWHERE}")
    return None


@contextmanager
def storage_failures_named(place: Path) -> Iterator[None]:
    """Raise the disk's failures inside as StorageError that names the folder written to."""
    try:
        yield
    except Exception as error:
        failure = None if isinstance(error, StorageError) else storage_failure(error)
        if failure is None:
            raise
        raise StorageError(f"{place}: {failure}") from error


def _errno(error: BaseException) -> int:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = RUST_ERRNO.search(str(error))
    return int(found[1]) if found else 0
