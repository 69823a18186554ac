"""A study killed at ten random moments (driver, worker, Ray's head) and resumed ends with the same bytes in its tables.

`PMD_KILL_SEED` draws other moments.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from reference import killing, tiny_study
from reference.killing import HEAD, Driver

from pmd_ray.spec.attempt import Attempt, AttemptState
from pmd_ray.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
EPOCHS = 8
KILLS = 10
PATIENCE_S = 180.0
TABLES = ("summary", "comparisons", "per_seed", "by_relation", "by_direction")


def ablate(folder: Path) -> Driver:
    file = tiny_study.write_study(folder, epochs=EPOCHS)
    return Driver.start(folder, "ablate", str(file), "--storage", str(folder / "store"), "--out", str(folder / "run"))


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "run" / "tables" / f"{name}.csv").read_bytes() for name in TABLES}


def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    begun = time.monotonic()
    ablate(quiet).succeed()
    lasted = time.monotonic() - begun
    chance = killing.chance()
    kills: list[list[str]] = []
    while sum(map(len, kills)) < KILLS:  # a study that ends before the last kill is followed by another
        folder = killing.beside(quiet, len(kills))
        kills.append(run_killed(folder, chance, lasted, KILLS - sum(map(len, kills))))
        assert tables(folder) == tables(quiet), kills
        check_losses(Store.open(folder / "store").attempts(), kills[-1])
    print(json.dumps({"kills": kills, "seconds": lasted}))


def run_killed(folder: Path, chance: random.Random, lasted: float, at_most: int) -> list[str]:
    """Run a study to its end, killed at random moments; what was killed."""
    driver, kills = ablate(folder), list[str]()
    while len(kills) < at_most:
        time.sleep(chance.uniform(0.08, 0.4) * lasted)
        what = chance.choice(["driver", "driver", "worker", "worker", *HEAD])
        if driver.ended():
            break
        pid = driver.victim(what)
        if pid is None or not killing.kill(pid):
            continue
        kills.append(what)
        if what == "worker":
            continue  # the driver replaces it
        if what in HEAD:
            # A driver without its Ray ends; it must not wait for ever.
            driver.must_end(PATIENCE_S, f"the driver hung for {PATIENCE_S:.0f} s after {what} was killed")
        else:
            driver.process.wait(timeout=60)
        driver = Driver.start(folder, "resume", str(folder / "run"))
    driver.succeed()
    return kills


def check_losses(attempts: list[Attempt], kills: list[str]) -> None:
    """At most one epoch of each stage that ran was lost to a kill."""
    by_key = killing.by_stage(attempts)
    assert len(by_key) == tiny_study.DISTINCT
    started = sum(attempt.epochs_started for attempt in attempts)
    needed = tiny_study.DISTINCT * EPOCHS
    lost = sum(attempt.state is AttemptState.LOST for attempt in attempts)
    assert needed <= started <= needed + lost
    assert lost <= 2 * len(kills)  # two stages run at once
    for tries in by_key.values():
        assert tries[-1].state is AttemptState.DONE
        killing.epochs_kept(tries)
