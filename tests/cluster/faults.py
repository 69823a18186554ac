"""What goes wrong with a host: cut off, its storage read-only, its disk full, a process of it killed."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from cluster.hosts import SHARED, Host, Hosts

FULL = "/srv/disk/full"
WAIT_S = 60.0
RAYLET = re.compile(r"\S*/raylet ")
GROUP_WORKER = re.compile(r"ray::\S*RayTrainWorker")
DRIVER = re.compile(r"\S*python\S* \S*/pmd ablate ")
ASIDE = "/srv/read-only"
READ_ONLY = (
    f"mkdir -p {ASIDE}; mount --bind {SHARED} {ASIDE}; mount -o remount,bind,ro {ASIDE}; "
    f"mount --bind {ASIDE} {SHARED}; umount {ASIDE}"
)
"""Over it, so that what is open stays open: a mount with open files cannot be made read-only. Made so aside, where
nobody opens a file between the two steps."""


def cut_off(hosts: Hosts, host: Host) -> None:
    """Nobody reaches it, and it can no longer write to the storage, which lies behind the same cable."""
    hosts.cut(host)
    host.run("sh", "-ec", READ_ONLY)


def back(hosts: Hosts, host: Host) -> None:
    """After `cut_off`."""
    host.run("umount", "-l", SHARED)
    hosts.join(host)


@contextmanager
def storage_read_only(hosts: Hosts) -> Iterator[None]:
    """On every host, until the end of the block."""
    with ExitStack() as stack:
        for host in hosts:
            host.run("sh", "-ec", READ_ONLY)
            stack.callback(host.run, "umount", "-l", SHARED)
        yield


@contextmanager
def disk_full(host: Host) -> Iterator[None]:
    """Its HOME and /tmp take no byte more, until the end of the block; the storage does."""
    host.run("dd", "if=/dev/zero", f"of={FULL}", "bs=1M", check=False)
    try:
        yield
    finally:
        host.sees(FULL).unlink()


def kill(host: Host, kind: re.Pattern[str]) -> int:
    """Kill its processes whose command lines begin so, and wait until they are gone; how many."""
    found = [pid for pid, command in host.processes().items() if kind.match(command)]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    limit = time.monotonic() + WAIT_S
    while any(kind.match(command) for pid, command in host.processes().items() if pid in found):
        assert time.monotonic() < limit, f"{host.name}: {found} do not end"
        time.sleep(0.05)
    return len(found)
