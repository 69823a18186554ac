"""The quickstart by `ray up`, `pmd submit` and `pmd fetch`: its metric tables are those of one machine, bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reference.tiny import write_graph
from reference.toy_studies import toy_overrides

from cluster.hosts import HOME
from cluster.readme import STORAGE
from cluster.twin import DASHBOARD, TOKEN, Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
TABLES = ("summary", "comparisons", "per_seed", "by_relation", "by_direction")
"""Metrics alone; other tables name hosts and seconds."""


def told(cluster: Cluster) -> list[str]:
    """What is said of the quickstart, over a graph of the client's that no node has."""
    graph = cluster.client.sees(f"{HOME}/graph")
    if not graph.exists():
        write_graph(graph)
    return [word for text in toy_overrides("quickstart", Path(HOME, "graph")) for word in ("--set", text)]


def tables(cluster: Cluster, folder: str) -> dict[str, bytes]:
    place = cluster.client.sees(folder) / "tables"
    return {name: (place / f"{name}.csv").read_bytes() for name in TABLES}


def test_every_host_has_the_token_for_its_owner_alone(cluster: Cluster) -> None:
    for host in cluster.hosts:
        assert host.sees(TOKEN).stat().st_mode & 0o777 == 0o600, host.name


def test_its_tables_are_those_of_one_machine(cluster: Cluster) -> None:
    said = told(cluster)
    cluster.pmd("data", "push", f"{HOME}/graph", "--storage", STORAGE)
    done = cluster.pmd(
        "submit", "ablate", "quickstart", *said, "--storage", STORAGE, "--address", DASHBOARD, "--json",
        timeout=900,
    )  # fmt: skip
    assert json.loads(done.stdout)["exit_code"] == 0
    cluster.pmd("fetch", "quickstart", "--storage", STORAGE, "--out", f"{HOME}/fetched")
    graph = json.loads((cluster.client.sees(f"{HOME}/fetched") / "study.json").read_text())["dataset"]["source"]
    alone = ["--storage", f"{HOME}/alone/store", "--out", f"{HOME}/alone/run", "--cpus", "1", "--device", "cpu"]
    cluster.pmd("data", "push", f"{HOME}/graph", "--storage", f"{HOME}/alone/store")
    cluster.pmd("ablate", "quickstart", *said, "--set", f"dataset.source={graph}", *alone, timeout=900)
    assert tables(cluster, f"{HOME}/fetched") == tables(cluster, f"{HOME}/alone/run")
