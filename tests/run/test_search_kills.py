"""A sequential search killed at ten random moments (driver, trial, stage worker) and resumed tries the same trials.

`PMD_KILL_SEED` draws other moments.
"""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
from reference import killing, toy_searches
from reference.killing import Driver

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
TROUBLE = re.compile(r"Traceback|optuna\.exceptions|\b[A-Z]\w+Error\b")


def search(folder: Path) -> Driver:
    file = toy_searches.write_search(folder, epochs=EPOCHS)
    places = ("--storage", str(folder / "store"), "--out", str(folder / "run"))
    return Driver.start(folder, "search", str(file), "--at-once", "1", "--slots", "2", *places)


def told(folder: Path) -> list[dict[str, Any]]:
    """The trials, recorded alike in the folder and in the store."""
    record = read_search(folder / "run")
    stored = Store.open(folder / "store").studies()[record.id]
    assert SearchRecord.model_validate_json(stored) == record
    return toy_searches.told(record)


def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    begun = time.monotonic()
    search(quiet).succeed()
    lasted = time.monotonic() - begun
    expected = told(quiet)
    states = [trial["state"] for trial in expected]
    assert set(states) == {TrialState.DONE, TrialState.PRUNED}, "the pruner has something to do"
    chance = killing.chance()
    kills: list[list[str]] = []
    lost: list[int] = []
    while sum(map(len, kills)) < KILLS:  # a search that ends before the last kill is followed by another
        folder = killing.beside(quiet, len(kills))
        kills.append(run_killed(folder, chance, lasted, KILLS - sum(map(len, kills))))
        assert told(folder) == expected, kills
        lost.append(epochs_lost(Store.open(folder / "store").attempts(), kills[-1]))
        assert trouble_in(folder) == []
    print(json.dumps({"kills": kills, "epochs lost": lost, "seconds": round(lasted, 1), "states": states}))


def run_killed(folder: Path, chance: random.Random, lasted: float, at_most: int) -> list[str]:
    """Run a search to its end, killed at random moments; what was killed."""
    driver, kills = search(folder), list[str]()
    while len(kills) < at_most:
        time.sleep(chance.uniform(0.05, 0.3) * lasted)
        what = chance.choice(["driver", "driver", "trial", "worker"])
        if driver.ended():
            break
        pid = driver.victim(what, within=NEXT_S)
        if pid is None or not (folder / "run" / RECORD).is_file() or not killing.kill(pid):
            continue
        kills.append(what)
        if what != "driver":
            continue  # the driver replaces it
        driver.process.wait(timeout=60)
        driver = Driver.start(folder, "resume", str(folder / "run"))
    driver.must_end(PATIENCE_S, f"the search hung after {kills}")
    driver.succeed()
    return kills


def epochs_lost(attempts: list[Attempt], kills: list[str]) -> int:
    """Epochs that were begun and not kept: at most the last one of each attempt that was killed or ended early."""
    lost = 0
    for tries in killing.by_stage(attempts).values():
        reached = killing.epochs_kept(tries)
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
