"""The README's chapter on clusters, followed line by line; its first lines and its last one start and end the hosts."""

from __future__ import annotations

import csv
import os
import signal
import time
from pathlib import Path

import pytest

from cluster.hosts import HOME
from cluster.readme import FOLDER, GRAPH, STORAGE, STUDY, graph_of_the_client
from cluster.twin import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
TENSORBOARD = "http://127.0.0.1:6006"


def variants(place: Path) -> set[str]:
    """Those of a fetched table."""
    with (place / "tables" / "summary.csv").open(encoding="utf-8", newline="") as table:
        return {row["variant"] for row in csv.DictReader(table)}


def test_the_chapter(cluster: Cluster) -> None:
    checkout = cluster.client.sees(FOLDER)
    graph_of_the_client(cluster.client)
    (checkout / "mystudy.yaml").write_text(STUDY, encoding="utf-8")
    (cluster.client.sees(HOME) / "pushed").write_text(
        cluster.pmd("data", "push", GRAPH, "--storage", STORAGE).stdout, encoding="utf-8"
    )
    assert not cluster.typed("export RAY_AUTH_MODE")
    assert "succeeded" in cluster.typed("ray job submit")
    assert cluster.typed("pmd data push").startswith("graph@")
    cluster.typed("pmd submit ablate mystudy.yaml")
    assert "SUCCEEDED" in cluster.typed("pmd status mystudy")
    assert "stages trained" in cluster.typed("pmd logs mystudy")
    cluster.typed("pmd fetch mystudy --storage")
    fetched = checkout / "runs" / "mystudy"
    assert variants(fetched) == {"baseline", "no_teacher"}
    fetched.rename(checkout / "runs" / "by_storage")
    cluster.typed("pmd fetch mystudy --cluster")
    assert variants(fetched) == {"baseline", "no_teacher"}
    look(cluster)
    assert [line.split()[:2] for line in cluster.chapter.left] == [["ray", "down"]]


def look(cluster: Cluster) -> None:
    """TensorBoard, until Ctrl-C."""
    board = cluster.typed_and_left("pmd tensorboard", cluster.hosts.folder / "tensorboard.log")
    limit = time.monotonic() + 60
    ask = ["curl", "-sS", "-m", "5", f"{TENSORBOARD}/data/runs"]
    while "mystudy" not in (answer := cluster.client.run(*ask, check=False).stdout) and "baseline" not in answer:
        assert board.poll() is None and time.monotonic() < limit, answer
        time.sleep(0.5)
    (inside,) = (pid for pid, command in cluster.client.processes().items() if "/pmd tensorboard " in command)
    os.kill(inside, signal.SIGINT)
    assert board.wait(timeout=60) in (0, 130)
