"""The quickstart by `ray up`, `pmd submit` and `pmd fetch`: its metric tables are those of one machine, bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reference.toy_studies import toy_overrides

from cluster.hosts import HOME, SHARED
from cluster.readme import GRAPH, graph_of_the_client
from cluster.twin import DASHBOARD, ENVIRONMENT, TOKEN, VENV, Cluster
from pmd_ray.spec.attempt import AttemptState
from pmd_ray.store.store import Store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
TOGETHER, ALONE = f"{SHARED}/together", f"{HOME}/alone"
"""Storages of their own: what another test has trained is not taken from there."""
TABLES = ("summary", "comparisons", "per_seed", "by_relation", "by_direction")
"""Metrics alone; other tables name hosts and seconds."""


def tables(cluster: Cluster, folder: str) -> dict[str, bytes]:
    place = cluster.client.sees(folder) / "tables"
    return {name: (place / f"{name}.csv").read_bytes() for name in TABLES}


def trained(store: Path) -> dict[str, str]:
    """The host of each stage that was trained."""
    every = Store.open(store, create=False).attempts()
    return {attempt.key: attempt.host for attempt in every if attempt.state is AttemptState.DONE}


def test_every_host_has_the_token_for_its_owner_alone(cluster: Cluster) -> None:
    for host in cluster.hosts:
        assert host.sees(TOKEN).stat().st_mode & 0o777 == 0o600, host.name


def test_its_tables_are_those_of_one_machine(cluster: Cluster) -> None:
    graph_of_the_client(cluster.client)
    said = [word for text in toy_overrides("quickstart", Path(GRAPH)) for word in ("--set", text)]
    graph = cluster.pmd("data", "push", GRAPH, "--storage", ALONE).stdout.strip()
    line = [f"{VENV}/pmd", "ablate", "quickstart", *said, "--set", f"dataset.source={graph}", "--storage", ALONE]
    log = cluster.hosts.folder / "alone.log"
    here = ["--out", f"{HOME}/alone-run", "--cpus", "1", "--device", "cpu"]
    alone = cluster.client.start(*line, *here, log=log, env=ENVIRONMENT)  # meanwhile: both wait more than they work
    cluster.pmd("data", "push", GRAPH, "--storage", TOGETHER)
    done = cluster.pmd(
        "submit", "ablate", "quickstart", *said, "--storage", TOGETHER, "--address", DASHBOARD, "--json",
        timeout=900,
    )  # fmt: skip
    assert json.loads(done.stdout)["exit_code"] == 0
    cluster.pmd("fetch", "quickstart", "--storage", TOGETHER, "--out", f"{HOME}/fetched")
    assert alone.wait(timeout=900) == 0, log.read_text()[-4000:]
    there, here_alone = trained(cluster.hosts.shared / "together"), trained(cluster.client.sees(ALONE))
    assert there.keys() == here_alone.keys() and set(there.values()) == {host.name for host in cluster.workers}
    assert tables(cluster, f"{HOME}/fetched") == tables(cluster, f"{HOME}/alone-run")
