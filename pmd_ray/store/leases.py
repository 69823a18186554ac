"""Leases: who trains a stage now. On a path the kernel keeps them and frees them however their owner ends.

No clock is involved, so that one that jumps changes nothing. An object store keeps none by itself: there a keeper that
the caller brings (a named actor of the cluster) does, or nobody.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from pmd_ray.spec.attempt import utc_now
from pmd_ray.spec.disk import refusal
from pmd_ray.spec.errors import PmdError, StorageError

TRIES = 5
PAUSE = 0.02
"""Seconds between tries: `held` asks with a lock of its own, for a moment."""

HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Busy(PmdError):
    """Another process trains the stage now."""

    def __init__(self, key: str, holder: str = "another run") -> None:
        self.key, self.holder = key, holder
        super().__init__(f"stage {key[:12]} is being trained by {holder}; wait for it")

    def __reduce__(self) -> tuple[type[Busy], tuple[str, str]]:
        return type(self), (self.key, self.holder)


class LeaseKeeper(Protocol):
    """Keeps leases where the storage cannot; it forgets those of owners that are gone."""

    def acquire(self, key: str, owner: str) -> bool:
        """Give the lease, unless another owner has it."""
        ...

    def release(self, key: str, owner: str) -> None:
        """Take it back; no error where the owner does not have it."""
        ...

    def held(self, key: str) -> bool:
        """Whether anyone has it."""
        ...


@contextmanager
def kept_lease(keeper: LeaseKeeper | None, key: str) -> Iterator[None]:
    """A lease of a keeper; without one, nothing: the first manifest wins.

    Raises:
        Busy: another owner has it.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
    if keeper is not None and not keeper.acquire(key, owner):
        raise Busy(key)
    try:
        yield
    finally:
        if keeper is not None:
            keeper.release(key, owner)


class FileLeases:
    """Leases as locked files in a folder (`flock`): between processes of one machine, and over NFS."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold a stage's lease.

        Raises:
            Busy: another process has it, or another thread of this one.
            StorageError: the file system has no locks, or refuses the file.
        """
        handle = self._locked(key)
        _closed_in_children()
        _HANDLES.add(handle)
        try:
            yield
        finally:
            if handle in _HANDLES:  # else this is a child that was forked meanwhile
                _HANDLES.discard(handle)
                with suppress(OSError):
                    os.ftruncate(handle, 0)
                fcntl.flock(handle, fcntl.LOCK_UN)
                os.close(handle)

    def held(self, key: str) -> bool:
        """Whether anyone holds a stage's lease now."""
        try:
            handle = _opened(self._folder / key, os.O_RDWR)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _refused(self._folder / key, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD_BY_ANOTHER:
                return True
            raise _refused(self._folder / key, error) from error
        finally:
            os.close(handle)
        return False

    def _locked(self, key: str) -> int:
        path, holder = self._folder / key, ""
        for _ in range(TRIES):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle = _opened(path, os.O_RDWR | os.O_CREAT)
            except OSError as error:
                raise _refused(path, error) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(handle, path):
                    _sign(handle)
                    return handle
                os.close(handle)  # removed or replaced since we opened it: a lock on it keeps nobody out
            except OSError as error:
                holder = _holder(handle)
                os.close(handle)
                if error.errno not in HELD_BY_ANOTHER:
                    raise _refused(path, error) from error
                time.sleep(PAUSE)
        raise Busy(key, holder or "another run")


_HANDLES: set[int] = set()
"""Open lock files of this process."""


@cache
def _closed_in_children() -> None:
    """A forked child shares the lock: it must not keep it when we end."""
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    while _HANDLES:
        with suppress(OSError):
            os.close(_HANDLES.pop())


def _opened(path: Path, flags: int) -> int:
    """Open a lock file that every user of a shared storage may lock."""
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY)
    if flags & os.O_CREAT and os.fstat(handle).st_uid == os.geteuid():
        with suppress(OSError):
            os.fchmod(handle, 0o666)  # whatever the umask
    return handle


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _sign(handle: int) -> None:
    """Write who holds it, for messages; a full disk is no reason to give it up."""
    who = {"host": socket.gethostname(), "pid": os.getpid(), "since": utc_now()}
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(who).encode(), 0)


def _holder(handle: int) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        who = json.loads(os.pread(handle, 1000, 0))
        return f"process {who['pid']} on {who['host']} (since {who['since']})"
    return ""


def _refused(path: Path, error: OSError) -> StorageError:
    if error.errno in NO_LOCKS:
        return StorageError(
            f"{path}: the file system does not lock files ({os.strerror(error.errno)}), so that two runs could train "
            "one stage; mount it with locks (NFS: lockd, without 'nolock'), or choose a storage elsewhere"
        )
    found = refusal(error)
    way_out = found.way_out if found else "choose a storage elsewhere"
    return StorageError(f"{path} could not be locked: {error.strerror or error}; {way_out}")
