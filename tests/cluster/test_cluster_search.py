"""A small search by `pmd submit`: its trials run on the hosts, and its tables come back by `pmd fetch`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from reference.toy_searches import toy_overrides

from cluster.hosts import HOME, SHARED
from cluster.readme import GRAPH, graph_of_the_client
from cluster.twin import DASHBOARD, Cluster
from pmd_ray.store.store import Store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
STORAGE = f"{SHARED}/search"
TWO = (
    "name=two",
    "optimiser.epochs=1",
    "budget.trials=2",
    "enqueue.paper=false",
    "search.pruner=none",
    "confirm.best=0",
)
"""The baseline, and a point that is drawn."""


def test_a_search_on_the_hosts(cluster: Cluster) -> None:
    graph_of_the_client(cluster.client)
    said = [word for text in (*toy_overrides("quickstart", Path(GRAPH)), *TWO) for word in ("--set", text)]
    cluster.pmd("data", "push", GRAPH, "--storage", STORAGE)
    done = cluster.pmd(
        "submit", "search", "quickstart", *said, "--slots", "2", "--storage", STORAGE, "--address", DASHBOARD, "--json",
        timeout=600,
    )  # fmt: skip
    assert json.loads(done.stdout)["exit_code"] == 0
    cluster.pmd("fetch", "two", "--storage", STORAGE, "--out", f"{HOME}/found", "--format", "csv,yaml")
    fetched = cluster.client.sees(f"{HOME}/found")
    with (fetched / "tables" / "trials.csv").open(encoding="utf-8", newline="") as table:
        trials = list(csv.DictReader(table))
    assert [trial["state"] for trial in trials] == ["done", "done"] and (fetched / "best.yaml").is_file()
    hosts = {attempt.host for attempt in Store.open(cluster.hosts.shared / "search", create=False).attempts()}
    assert hosts <= {host.name for host in cluster.workers} and hosts, "the head has no core for a stage"
