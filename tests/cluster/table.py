"""What faults cost, as a table: time to notice, time to go on, epochs lost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cluster.hosts import CHECKOUT
from cluster.runs import Run, reached
from pmd_ray.spec.attempt import Attempt

PLACE = "PMD_FAULTS_TABLE"
"""Names the file to write."""
HEAD = """\
# What a run loses when a machine fails

Made {now} at {commit} by `PMD_FAULTS_TABLE=docs/faults.md make test-cluster`, on {cores} cores with a load of
{load:.0f}: three hosts out of name spaces, a head and two workers of one core each, `deploy/local.yaml`, two stages at
once (one that is a group). Every run ended well, with every stage whole.

- noticed: until the driver says that a stage is tried again, or the cluster's list of nodes has lost the host; of the
  killed driver: until Ray's job server calls its job FAILED
- goes on: until each disturbed stage was begun again, by another attempt or by another group within one, and has kept
  an epoch since; beside the full disk, where nothing has to end: until the stage has kept its next epoch
- lost: epochs that were begun and not kept, of the stage that lost most

| fault | noticed after | goes on after | epochs lost |
| --- | ---: | ---: | ---: |
"""
TAIL = """
A host is given up after health checks that it missed, 3 s apart and of 4 s each: after 30 s at the most by the shipped
files, which these tests assert. A host that is cut off cannot write to the storage either. A stage that it trained goes
on as soon as another host has room: here that may be when the other stage has ended.

Rank 0's group is asked for anew at once, with a node that Ray Train still counts on; 25 s later it goes on with the
workers that are left. Where the group's launcher was on the host too, its lock on the stage (in a folder) goes with its
processes, and other stages are trained meanwhile. A group takes back a node that joins again: Ray Train looks once a
minute, and starts it anew from its last epoch (`tests/run/test_growing_group.py`).

A run that begins while the disk of one host is full goes on with the others: the host's stages are tried elsewhere.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault."""

    fault: str
    noticed_s: float | None
    """None: nobody needs to notice it."""
    goes_on_s: float
    lost: int


def commit() -> str:
    """That this checkout is at, and whether it differs from it: the hosts have its files as they are."""
    tell = {"cwd": CHECKOUT, "capture_output": True, "text": True, "check": True}
    name = subprocess.run(["git", "rev-parse", "--short", "HEAD"], **tell).stdout.strip()
    return f"{name} with changes" if subprocess.run(["git", "status", "--porcelain"], **tell).stdout else name


@dataclass
class Table:
    """The faults of one session."""

    rows: list[Row] = field(default_factory=list)
    commit: str = field(default_factory=commit)
    """At its beginning."""

    def add(self, row: Row) -> None:
        """At the end of a fault's test."""
        self.rows.append(row)

    def write(self) -> None:
        """As Markdown, to the file that PMD_FAULTS_TABLE names, if any."""
        place = os.environ.get(PLACE)
        lines = [
            f"| {row.fault} | {seconds(row.noticed_s)} | {row.goes_on_s:.0f} s | {row.lost} |\n" for row in self.rows
        ]
        now = f"{datetime.now(UTC):%Y-%m-%d}"
        head = HEAD.format(now=now, commit=self.commit, cores=os.cpu_count(), load=os.getloadavg()[2])
        print("".join(["\n", *lines]))
        if place and lines:
            Path(place).write_text(head + "".join(lines) + TAIL, encoding="utf-8")


def seconds(value: float | None) -> str:
    """For a cell."""
    return "-" if value is None else f"{value:.0f} s"


class Watch:
    """Looks at a run from the moment of a fault on.

    Args:
        disturbed: Stages that the fault meets.
        ends: Whether it ends what is at work on them, so that they must be begun again.
    """

    def __init__(self, run: Run, disturbed: set[str], *, ends: bool = True) -> None:
        self._run, self._disturbed, self._ends = run, disturbed, ends
        self._begun = time.monotonic()
        self._said = len(run.log())
        self._before = run.by_stage()
        self._replaced: dict[str, int] = {}
        """Epochs that an attempt had kept when another group went on with it."""
        self._noticed: float | None = None

    def noticed(self, otherwise: Callable[[], bool] = lambda: False, *, watched: bool = True) -> float:
        """Wait for the driver's word of trouble, or for that; seconds since the fault.

        Args:
            watched: Whether the driver must live on.
        """
        self._run.until(
            lambda: "tried again" in self._run.log()[self._said :] or otherwise(), "the fault's notice", watched=watched
        )
        self._noticed = time.monotonic() - self._begun
        return self._noticed

    def gone_on(self, *, watched: bool = True) -> float:
        """Wait until each disturbed stage has kept another epoch, which is not one of what the fault ends."""
        self._run.until(self._all_further, "the disturbed stages to go on", watched=watched)
        return time.monotonic() - self._begun

    def row(self, fault: str, goes_on_s: float) -> Row:
        """After the run's end."""
        return Row(fault=fault, noticed_s=self._noticed, goes_on_s=goes_on_s, lost=self._run.lost())

    def _all_further(self) -> bool:
        now = self._run.by_stage()
        return {key for key in self._disturbed if self._is_further(key, now[key])} == self._disturbed

    def _is_further(self, key: str, tries: list[Attempt]) -> bool:
        before, last = self._before[key], tries[-1]
        if not self._ends:
            return reached(tries) > reached(before)
        if len(tries) > len(before):
            return last.epochs_finished > 0
        # A group that has lost a worker is replaced within the attempt, and begins its epoch a second time.
        if not_kept(last) > not_kept(before[-1]):
            self._replaced.setdefault(key, last.epochs_finished)
        return last.epochs_finished > self._replaced.get(key, last.epochs_finished)


def not_kept(attempt: Attempt) -> int:
    """Epochs that it has begun and not kept, the one that it is in included."""
    return attempt.epochs_started - attempt.epochs_finished
