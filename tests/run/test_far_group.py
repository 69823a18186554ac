"""Worker groups on nodes that share no disk, with a bucket between them: the same numbers, and lost nodes survived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.ray, pytest.mark.slow]


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """The study in a process of its own, with a Ray of its own."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    settings = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": ""}
    # Short, for the paths of sockets, and its own: Ray remembers the last cluster of a folder.
    with tempfile.TemporaryDirectory(prefix="pmd-") as ray_folder:
        done = subprocess.run(
            [sys.executable, "-m", "reference.two_disks", str(folder), *arguments],
            env={**os.environ, **settings, "RAY_TMPDIR": ray_folder},
            stdout=subprocess.PIPE,
            text=True,
            timeout=400,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_two_nodes_without_a_common_disk(tmp_path: Path) -> None:
    """The group's ranks are bitwise those of a group with a common disk; nothing but artifacts stays anywhere."""
    apart, together = (tmp_path / name for name in ("apart", "together"))
    apart.mkdir()
    together.mkdir()
    found, expected = run(apart, "2,spread", "bucket"), run(together, "2,spread", "disk")
    assert found["failed"] == expected["failed"] == {} and found["done"] == 3
    assert found["ranks"] == expected["ranks"]
    assert all(states == ["done"] for states in found["attempts"].values())
    assert all(epochs == [[0, 2]] for epochs in found["epochs"].values())
    assert found["left"] == [] and found["on_disks"] == []


def test_the_leader_s_node_is_lost(tmp_path: Path) -> None:
    """The stage goes on from the bucket, on the other node's disk, and loses no epoch that was kept."""
    found = run(tmp_path, "1:2,spread", "bucket", "lose")
    assert found["failed"] == {} and found["done"] == 3 and found["lost"]
    assert [sum(kept for _, kept in epochs) for epochs in found["epochs"].values()] == [12, 12, 12], found["epochs"]
