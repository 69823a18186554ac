"""A study killed at ten random moments (driver, worker, Ray's head) and resumed ends with the same bytes in its tables.

`PMD_KILL_SEED` draws other moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reference import tiny_study

from pmd_ray.spec.attempt import Attempt, AttemptState
from pmd_ray.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
EPOCHS = 8
KILLS = 10
PATIENCE_S = 180.0
TABLES = ("summary", "comparisons", "per_seed", "by_relation", "by_direction")
HEAD = ("gcs_server", "raylet")


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    log = (folder / "log.txt").open("ab")
    command = [sys.executable, "-m", "pmd_ray", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def ablate(folder: Path) -> subprocess.Popen[bytes]:
    file = tiny_study.write_study(folder, epochs=EPOCHS)
    return start(folder, "ablate", str(file), "--storage", str(folder / "store"), "--out", str(folder / "run"))


def wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    code = process.wait(timeout=600)
    assert code == 0, (folder / "log.txt").read_text()[-3000:]


def session_of(process: subprocess.Popen[bytes]) -> dict[int, str]:
    """Every living process of a driver's session, by what it runs."""
    found = {}
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal():
            continue
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(fields[3]) == process.pid and fields[0] != "Z":
            found[int(place.name)] = command
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """What is left of a session, as a reboot would end it; only processes that this test started."""
    for pid in session_of(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=60)


def victim(process: subprocess.Popen[bytes], what: str) -> int | None:
    if what == "driver":
        return process.pid
    for pid, command in session_of(process).items():
        if what == "worker" and command.startswith("ray::_train"):
            return pid
        if what in HEAD and f"/{what} " in command:
            return pid
    return None


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "run" / "tables" / f"{name}.csv").read_bytes() for name in TABLES}


def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    tiny_study.write_graph(quiet / "graph")
    begun = time.monotonic()
    wait(ablate(quiet), quiet)
    lasted = time.monotonic() - begun
    chance = random.Random(int(os.environ.get("PMD_KILL_SEED", "0")))
    kills: list[list[str]] = []
    while sum(map(len, kills)) < KILLS:  # a study that ends before the last kill is followed by another
        folder = tmp_path / f"killed {len(kills)}"
        folder.mkdir()
        (folder / "graph").symlink_to(quiet / "graph")  # one graph for all: the tables name it
        kills.append(run_killed(folder, chance, lasted, KILLS - sum(map(len, kills))))
        assert tables(folder) == tables(quiet), kills
        check_losses(Store.open(folder / "store").attempts(), kills[-1])
    print(json.dumps({"kills": kills, "seconds": lasted}))


def run_killed(folder: Path, chance: random.Random, lasted: float, at_most: int) -> list[str]:
    """Run a study to its end, killed at random moments; what was killed."""
    process, kills = ablate(folder), list[str]()
    while len(kills) < at_most:
        time.sleep(chance.uniform(0.08, 0.4) * lasted)
        what = chance.choice(["driver", "driver", "worker", "worker", *HEAD])
        if process.poll() is not None:
            break
        pid = victim(process, what)
        if pid is None:
            continue
        os.kill(pid, signal.SIGKILL)
        kills.append(what)
        if what == "worker":
            continue  # the driver replaces it
        if what in HEAD:
            # A driver without its Ray ends; it must not wait for ever.
            try:
                process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                end(process)
                pytest.fail(f"the driver hung for {PATIENCE_S:.0f} s after {what} was killed")
        else:
            process.wait(timeout=60)
        process = start(folder, "resume", str(folder / "run"))
    wait(process, folder)
    return kills


def check_losses(attempts: list[Attempt], kills: list[str]) -> None:
    """At most one epoch of each stage that ran was lost to a kill."""
    by_key: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_key.setdefault(attempt.key, []).append(attempt)
    assert len(by_key) == tiny_study.DISTINCT
    started = sum(attempt.epochs_started for attempt in attempts)
    needed = tiny_study.DISTINCT * EPOCHS
    lost = sum(attempt.state is AttemptState.LOST for attempt in attempts)
    assert needed <= started <= needed + lost
    assert lost <= 2 * len(kills)  # two stages run at once
    for tries in by_key.values():
        assert tries[-1].state is AttemptState.DONE
        reached = 0
        for attempt in tries:
            # Goes on where the last checkpoint was, which may be one epoch further than the record says.
            assert reached <= attempt.first_epoch <= reached + 1
            reached = attempt.first_epoch + attempt.epochs_finished
