"""Two runs on one storage at once: each stage is trained once, both end with the same tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from reference import tiny_study

from pmd_ray.spec.attempt import AttemptState
from pmd_ray.store.store import Store

pytestmark = pytest.mark.slow
TABLES = ("summary", "comparisons", "per_seed", "by_relation", "by_direction")


def test_two_drivers_train_each_stage_once(tmp_path: Path) -> None:
    file = tiny_study.write_study(tmp_path, epochs=3)
    drivers = []
    for name in ("one", "two"):
        command = [sys.executable, "-m", "pmd_ray", "ablate", str(file), "--storage", str(tmp_path / "store")]
        log = (tmp_path / f"{name}.log").open("wb")
        drivers.append(subprocess.Popen([*command, "--out", str(tmp_path / name)], stdout=log, stderr=log))
    codes = [driver.wait(timeout=900) for driver in drivers]
    logs = [(tmp_path / f"{name}.log").read_text() for name in ("one", "two")]
    assert codes == [0, 0], logs
    attempts = Store.open(tmp_path / "store").attempts()
    assert len(attempts) == len({attempt.key for attempt in attempts}) == tiny_study.DISTINCT
    assert {attempt.state for attempt in attempts} == {AttemptState.DONE}
    assert len({attempt.pid for attempt in attempts}) > 1
    trained = [int(log.rstrip().splitlines()[-1].split(" ")[0]) for log in logs]
    assert sum(trained) == tiny_study.DISTINCT, logs
    for table in TABLES:
        one, two = ((tmp_path / name / "tables" / f"{table}.csv").read_bytes() for name in ("one", "two"))
        assert one == two
