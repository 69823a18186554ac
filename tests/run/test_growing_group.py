"""An elastic group takes a node that joins while its stage trains, and loses no epoch that was kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
@pytest.mark.slow
def test_a_group_grows_within_a_stage(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    settings = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": ""}
    # Short, for the paths of sockets, and its own: Ray remembers the last cluster of a folder.
    with tempfile.TemporaryDirectory(prefix="pmd-") as ray_folder:
        done = subprocess.run(
            [sys.executable, "-m", "reference.growing_group", str(tmp_path)],
            env={**os.environ, **settings, "RAY_TMPDIR": ray_folder},
            stdout=subprocess.PIPE,
            text=True,
            timeout=550,
            check=True,
        )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["sizes"] == [1, 2] and found["lost"] == [0, 0], found
