"""Leases: one process trains a stage, whoever asks; the kernel frees them however their owner ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from storages import Storage, key

from pmd_ray.spec.errors import StorageError
from pmd_ray.store import leases
from pmd_ray.store.leases import Busy

KEY, OTHER = key(1), key(2)
HOLD = """
import os, sys, signal, time
from pmd_ray.store.store import Store
store = Store.open(sys.argv[1])
with store.lease(sys.argv[2]):
    print(os.getpid(), flush=True)
    {then}
"""


@contextmanager
def holder(local: Storage, then: str = "input()") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease."""
    command = [sys.executable, "-c", HOLD.format(then=then), local.location, KEY]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        yield process
    finally:
        process.kill()
        process.communicate()


def test_another_process_is_busy_until_it_lets_go(local: Storage) -> None:
    store = local.open()
    assert not store.lease_held(KEY)
    with holder(local) as process:
        assert store.lease_held(KEY)
        with pytest.raises(Busy, match=f"{KEY[:12]} is being trained by process {process.pid} on .*wait for it"):
            store.lease(KEY).__enter__()
        with store.lease(OTHER):
            assert store.lease_held(OTHER)
        assert not store.lease_held(OTHER)
        process.communicate("done\n")
        assert process.returncode == 0
    assert not store.lease_held(KEY)
    with store.lease(KEY):
        pass


def test_a_killed_owner_frees_it(local: Storage) -> None:
    store = local.open()
    with holder(local) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not store.lease_held(KEY)
        with store.lease(KEY):
            assert store.lease_held(KEY)


def test_a_forked_child_does_not_keep_it(local: Storage) -> None:
    """Such as a worker of a data loader that outlives its killed parent."""
    store = local.open()
    then = (
        "child = os.fork()\n    if child == 0:\n        time.sleep(60)\n    print(child, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    with holder(local, then) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        process.wait()
        try:
            os.kill(child, 0)  # it lives
            with store.lease(KEY):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_does_not_free_it(local: Storage) -> None:
    store = local.open()
    with store.lease(KEY):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                leases._close_all()  # as the hook did
            os._exit(0)
        os.waitpid(child, 0)
        assert store.lease_held(KEY)


def test_two_processes_ask_for_one_lease(local: Storage, tmp_path: Path) -> None:
    """Each holder writes and reads back: two at once would see each other's text."""
    local.open()
    (tmp_path / "shared").touch()
    code = """
import os, sys, time
from pathlib import Path
from pmd_ray.store.store import Store, Busy
store, shared, taken = Store.open(sys.argv[1]), Path(sys.argv[3]), 0
input()
end = time.monotonic() + 30
while taken < 15 and time.monotonic() < end:
    try:
        with store.lease(sys.argv[2]):
            shared.write_text(str(os.getpid()))
            time.sleep(0.002)
            assert shared.read_text() == str(os.getpid()), "two holders"
            taken += 1
    except Busy:
        pass
    time.sleep(0.003)
print(taken)
"""
    command = [sys.executable, "-c", code, local.location, KEY, str(tmp_path / "shared")]
    pair = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in pair:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=90)[0].strip() for process in pair] == ["15", "15"]


def test_another_thread_of_this_process_is_busy_too(local: Storage) -> None:
    store = local.open()
    found: list[BaseException] = []

    def ask() -> None:
        try:
            with store.lease(KEY):
                pass
        except Busy as error:
            found.append(error)

    with store.lease(KEY):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(found) == 1


def test_an_error_inside_frees_it(local: Storage) -> None:
    store = local.open()
    with pytest.raises(RuntimeError), store.lease(KEY):
        raise RuntimeError
    assert not store.lease_held(KEY)


def test_somebody_who_only_looks_is_not_taken_for_a_holder(local: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lease_held` locks for a moment; who asks for the lease at that moment tries again."""
    store, asked = local.open(), []
    lock = fcntl.flock

    def sometimes(handle: int, how: int) -> None:
        asked.append(how)
        if len(asked) == 1:
            raise BlockingIOError(errno.EWOULDBLOCK, "held")
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", sometimes)
    with store.lease(KEY):
        assert len(asked) == 2


def test_a_lock_on_a_file_that_is_gone_keeps_nobody_out_and_so_does_not_count(
    local: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody removes and makes the file anew between our opening and our locking it."""
    store = local.open()
    path, lock = Path(local.location) / "leases" / KEY, fcntl.flock
    replaced: list[int] = []

    def slow(handle: int, how: int) -> None:
        if not replaced:
            replaced.append(path.stat().st_ino)
            path.rename(path.with_name("gone"))
            path.touch()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with store.lease(KEY):
        assert path.stat().st_ino != replaced[0]
        other = path.open("r+")
        with pytest.raises(BlockingIOError):
            lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        other.close()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_one_clear_error(
    local: Storage, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    store = local.open()
    with store.lease(KEY):
        pass

    def refuse(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for ask in (lambda: store.lease(KEY).__enter__(), lambda: store.lease_held(KEY)):
        with pytest.raises(StorageError, match=r"does not lock files .*mount it with locks"):
            ask()


def test_a_clock_that_jumps_changes_nothing(local: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = local.open()
    with holder(local):
        for year in (1970, 2000, 2100):
            monkeypatch.setattr(time, "time", lambda year=year: (year - 1970) * 3.15e7)
            monkeypatch.setattr(leases, "utc_now", lambda year=year: f"{year}-01-01T00:00:00.000000Z")
            assert store.lease_held(KEY)
            with pytest.raises(Busy):
                store.lease(KEY).__enter__()


def test_every_user_of_a_shared_storage_may_lock(local: Storage) -> None:
    store = local.open()
    mask = os.umask(0o077)
    try:
        with store.lease(KEY):
            pass
    finally:
        os.umask(mask)
    assert (Path(local.location) / "leases" / KEY).stat().st_mode & 0o777 == 0o666


def test_no_handle_is_left_open(local: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = local.open()
    monkeypatch.setattr(leases, "PAUSE", 0.0)
    handles = Path("/dev/fd")  # on Linux and macOS
    before = len(list(handles.iterdir()))
    with store.lease(KEY):
        for _ in range(20):
            store.lease_held(KEY)
            with pytest.raises(Busy):
                store.lease(KEY).__enter__()
    # Fewer where others' handles were collected meanwhile.
    assert len(list(handles.iterdir())) <= before
    assert not leases._HANDLES


class Keeper:
    """A keeper as a cluster would have one."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}

    def acquire(self, key: str, owner: str) -> bool:
        return self.owners.setdefault(key, owner) == owner

    def release(self, key: str, owner: str) -> None:
        if self.owners.get(key) == owner:
            del self.owners[key]

    def held(self, key: str) -> bool:
        return key in self.owners


def test_a_keeper_holds_the_leases_of_a_remote_store(on_s3: Storage) -> None:
    one, two, keeper = on_s3.open(), on_s3.open(), Keeper()
    one.lease_keeper = two.lease_keeper = keeper
    with one.lease(KEY):
        assert two.lease_held(KEY)
        with pytest.raises(Busy):
            two.lease(KEY).__enter__()
        with two.lease(OTHER):
            pass
    assert keeper.owners == {}
    with pytest.raises(RuntimeError), two.lease(KEY):
        raise RuntimeError
    assert not one.lease_held(KEY)


def test_without_a_keeper_a_remote_store_lets_everybody_train(on_s3: Storage) -> None:
    store = on_s3.open()
    with store.lease(KEY), on_s3.open().lease(KEY):
        assert not store.lease_held(KEY)


def test_busy_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Busy(KEY, "process 3 on host")))
    assert (error.key, error.holder, error.exit_code) == (KEY, "process 3 on host", 1)
    assert str(error) == str(Busy(KEY, "process 3 on host"))
