"""Processes to kill: a command in a session of its own, what runs in it or under us by kind, and how stages go on.

`PMD_KILL_SEED` draws other moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from pmd_ray.spec.attempt import Attempt

DRIVER, TRIAL, STAGE, TRAIN_WORKER = "driver", "trial", "worker", "train worker"
HEAD = ("gcs_server", "raylet")
"""Ray's own processes, without which it ends."""
KINDS = {
    TRIAL: re.compile("ray::ImplicitFunc"),
    STAGE: re.compile("ray::_train"),
    TRAIN_WORKER: re.compile(r"ray::\S*RayTrainWorker"),
    **{program: re.compile(rf"\S*/{program} ") for program in HEAD},
}
"""How the command lines of processes begin."""
LONG_S = 600.0
"""Waited for a command that nobody disturbs."""


@dataclass(frozen=True)
class Process:
    """A living process, as the kernel tells of it."""

    parent: int
    session: int
    command: str


def processes() -> dict[int, Process]:
    """All of this machine."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (place / "stat").read_text(errors="replace").rpartition(")")[2]
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        state, parent, _, session, *_ = after_name.split()
        if state != "Z":
            found[int(place.name)] = Process(parent=int(parent), session=int(session), command=command)
    return found


def of_kind(kind: str, among: dict[int, Process]) -> list[int]:
    return [pid for pid, process in among.items() if KINDS[kind].match(process.command)]


def ours(kind: str) -> list[int]:
    """Processes of that kind among our own descendants."""
    every = processes()
    children = defaultdict[int, list[int]](list)
    for pid, process in every.items():
        children[process.parent].append(pid)
    found, parents = dict[int, Process](), [os.getpid()]
    while parents:
        for child in children[parents.pop()]:
            found[child] = every[child]
            parents.append(child)
    return of_kind(kind, found)


def kill(pid: int) -> bool:
    """Whether it was still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


@dataclass(frozen=True)
class Driver:
    """`pmd` in a session of its own; what it says is added to `log.txt` in its folder."""

    process: subprocess.Popen[bytes]
    folder: Path

    @classmethod
    def start(cls, folder: Path, *arguments: str) -> Driver:
        command = [sys.executable, "-m", "pmd_ray", *arguments]
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        return cls(process, folder)

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def succeed(self) -> None:
        """Wait until it ends, as it should."""
        code = self.process.wait(timeout=LONG_S)
        assert code == 0, self.log()[-3000:]

    def must_end(self, seconds: float, otherwise: str) -> None:
        """Wait so long for its end, good or bad; else end it and fail."""
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.end()
            pytest.fail(f"{otherwise}: {self.log()[-3000:]}")

    def session(self) -> dict[int, Process]:
        """Every living process of its session."""
        return {pid: process for pid, process in processes().items() if process.session == self.process.pid}

    def end(self) -> None:
        """What is left of its session, as a reboot would end it; only processes that this test started."""
        for pid in self.session():
            kill(pid)
        self.process.wait(timeout=60)

    def victim(self, kind: str, *, within: float = 0.0) -> int | None:
        """The driver itself or a process of that kind, waited for so many seconds; None where none comes."""
        if kind == DRIVER:
            return self.process.pid
        limit = time.monotonic() + within
        while not (found := of_kind(kind, self.session())):
            if self.ended() or time.monotonic() >= limit:
                return None
            time.sleep(0.05)
        return found[0]


def chance() -> random.Random:
    """Which moments and which victims."""
    return random.Random(int(os.environ.get("PMD_KILL_SEED", "0")))


def beside(quiet: Path, number: int) -> Path:
    """A folder for a run that is disturbed, with the graph of the one that is not: its tables name that."""
    folder = quiet.parent / f"killed {number}"
    folder.mkdir()
    (folder / "graph").symlink_to(quiet / "graph")
    return folder


def by_stage(attempts: list[Attempt]) -> dict[str, list[Attempt]]:
    """By the stages' keys, in order."""
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(attempt.key, []).append(attempt)
    return found


def epochs_kept(tries: list[Attempt]) -> int:
    """Epochs that the attempts at one stage finished one after another; each goes on where the last one ended."""
    reached = 0
    for attempt in tries:
        # Goes on where the last checkpoint was, which may be one epoch further than the record says.
        assert reached <= attempt.first_epoch <= reached + 1, (reached, attempt.first_epoch)
        reached = attempt.first_epoch + attempt.epochs_finished
    return reached
