"""A sequential search killed at ten random moments (driver, trial, stage worker) and resumed tries the same trials.

`PMD_KILL_SEED` draws other moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from reference import toy_searches

from pmd_ray.spec.attempt import Attempt, AttemptState
from pmd_ray.spec.search_folder import RECORD, read_search
from pmd_ray.spec.search_record import SearchRecord, TrialState
from pmd_ray.store.store import Store

pytestmark = pytest.mark.slow
EPOCHS = 4
KILLS = 10
PATIENCE_S = 300.0
NEXT_S = 30.0
"""Waited for a stage to be trained: it takes a second or two."""
TRIAL, WORKER = "ray::ImplicitFunc", "ray::_train"
"""What processes of trials and of stages are called."""
TROUBLE = re.compile(r"Traceback|optuna\.exceptions|\b[A-Z]\w+Error\b")


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    log = (folder / "log.txt").open("ab")
    command = [sys.executable, "-m", "pmd_ray", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def search(folder: Path) -> subprocess.Popen[bytes]:
    file = toy_searches.write_search(folder, epochs=EPOCHS)
    places = ("--storage", str(folder / "store"), "--out", str(folder / "run"))
    return start(folder, "search", str(file), "--at-once", "1", "--slots", "2", *places)


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
    """A process of that kind, the next one where none is at work; None where none comes."""
    if what == "driver":
        return process.pid
    name, limit = {"trial": TRIAL, "worker": WORKER}[what], time.monotonic() + NEXT_S
    while process.poll() is None and time.monotonic() < limit:
        for pid, command in session_of(process).items():
            if command.startswith(name):
                return pid
        time.sleep(0.05)
    return None


def told(folder: Path) -> list[dict[str, Any]]:
    """The trials without what depends on the clock."""
    record = read_search(folder / "run")
    stored = Store.open(folder / "store").studies()[record.id]
    assert SearchRecord.model_validate_json(stored) == record
    clocks = {"latency_ms", "seconds", "started", "ended"}
    return [trial.model_dump(mode="json", exclude=clocks) for trial in record.trials]


def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    begun = time.monotonic()
    wait(search(quiet), quiet)
    lasted = time.monotonic() - begun
    expected = told(quiet)
    states = [trial["state"] for trial in expected]
    assert set(states) == {TrialState.DONE, TrialState.PRUNED}, "the pruner has something to do"
    chance = random.Random(int(os.environ.get("PMD_KILL_SEED", "0")))
    kills: list[list[str]] = []
    lost: list[int] = []
    while sum(map(len, kills)) < KILLS:  # a search that ends before the last kill is followed by another
        folder = tmp_path / f"killed {len(kills)}"
        folder.mkdir()
        (folder / "graph").symlink_to(quiet / "graph")
        kills.append(run_killed(folder, chance, lasted, KILLS - sum(map(len, kills))))
        assert told(folder) == expected, kills
        lost.append(epochs_lost(Store.open(folder / "store").attempts(), kills[-1]))
        assert trouble_in(folder) == []
    print(json.dumps({"kills": kills, "epochs lost": lost, "seconds": round(lasted, 1), "states": states}))


def run_killed(folder: Path, chance: random.Random, lasted: float, at_most: int) -> list[str]:
    """Run a search to its end, killed at random moments; what was killed."""
    process, kills = search(folder), list[str]()
    while len(kills) < at_most:
        time.sleep(chance.uniform(0.05, 0.3) * lasted)
        what = chance.choice(["driver", "driver", "trial", "worker"])
        if process.poll() is not None:
            break
        pid = victim(process, what)
        if pid is None or not (folder / "run" / RECORD).is_file():
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            kills.append(what)
        if what != "driver":
            continue  # the driver replaces it
        process.wait(timeout=60)
        process = start(folder, "resume", str(folder / "run"))
    try:
        process.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        end(process)
        pytest.fail(f"the search hung after {kills}: {(folder / 'log.txt').read_text()[-3000:]}")
    wait(process, folder)
    return kills


def epochs_lost(attempts: list[Attempt], kills: list[str]) -> int:
    """Epochs that were begun and not kept: at most the last one of each attempt that was killed or ended early."""
    by_key: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_key.setdefault(attempt.key, []).append(attempt)
    lost = 0
    for tries in by_key.values():
        reached = 0
        for attempt in tries:
            # Goes on where the last checkpoint was, which may be one epoch further than the record says.
            assert reached <= attempt.first_epoch <= reached + 1
            reached = attempt.first_epoch + attempt.epochs_finished
        ended = sum(attempt.state is not AttemptState.DONE for attempt in tries)
        begun = sum(attempt.epochs_started for attempt in tries)
        assert begun - reached <= ended
        assert tries[-1].state in (AttemptState.DONE, AttemptState.PRUNED)
        lost += begun - reached
    assert sum(attempt.state is AttemptState.LOST for attempt in attempts) <= len(kills)
    return lost


def trouble_in(folder: Path) -> list[str]:
    """Lines of the log that speak of an error, but for the workers that we killed ourselves."""
    return [line for line in (folder / "log.txt").read_text().splitlines() if TROUBLE.search(line)]
