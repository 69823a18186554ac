"""What hosts of our own need of this machine, and how to get what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

PROGRAMS = {
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "rsync": "rsync",
    "curl": "curl",
}
"""Each with the Debian or Ubuntu package that has it."""
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
"""Not on every user's path."""
TRIAL = "ip link add bridge0 type bridge && ip link add left type veth peer name right && mount -t tmpfs trial /srv"
"""What each host is made of."""


def found(program: str) -> str | None:
    """Where a program lies."""
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(SYSTEM_FOLDERS))


def needs() -> list[str]:
    """What is missing, each with the way out; empty: hosts can be made."""
    return list(_missing())


def _missing() -> Iterator[str]:
    if os.uname().sysname != "Linux":
        yield "Linux: name spaces are its own; use a virtual machine or CI"
        return
    if os.geteuid() != 0:
        yield "root, to make name spaces: sudo make test-cluster"
    packages = sorted({package for program, package in PROGRAMS.items() if found(program) is None})
    if packages:
        yield f"programs: apt-get install -y {' '.join(packages)}"
    elif os.geteuid() == 0:
        wrong = _tried()
        if wrong:
            yield f"name spaces, bridges and mounts, which are refused here ({wrong}): docker run --privileged, or a VM"


def _tried() -> str | None:
    """Why no host can be made, in the words of whoever refuses."""
    spaces = ["--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc"]
    done = subprocess.run(["unshare", *spaces, "sh", "-ec", TRIAL], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else " ".join(done.stderr.split())[:200] or f"exit code {done.returncode}"
