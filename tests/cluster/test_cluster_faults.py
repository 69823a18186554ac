"""Machines fail while a study runs: it ends well, and each stage loses one epoch at most.

`PMD_FAULTS_TABLE=FILE` writes what each fault cost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cluster import faults
from cluster.hosts import SHARED, Host
from cluster.runs import BRIEF, ONE_STAGE, Run
from cluster.table import Table, Watch
from cluster.twin import ENVIRONMENT, VENV, Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
READ_ONLY_S = 30.0
NOTICED_S = 30.0
"""By the health checks of the shipped files."""
GROUP = ("--workers", "1:2", "--slots", "1")


@pytest.fixture(autouse=True)
def all_there(cluster: Cluster) -> Iterator[None]:
    """Every host is there before and after."""
    cluster.await_all()
    yield


def started(cluster: Cluster, name: str, *options: str) -> Run:
    """A run whose two stages are under way."""
    run = Run.start(cluster, name, *options)
    run.await_epochs(2)
    return run


def of_the_long_stage(run: Run) -> tuple[str, Host]:
    """The stage that has more epochs before it, and the host that trains it."""
    longest = run.longest()
    return longest, run.cluster.hosts[run.by_stage()[longest][-1].host]


def test_a_worker_cut_off_for_good(cluster: Cluster, table: Table) -> None:
    run = started(cluster, "cut")
    stage, host = of_the_long_stage(run)
    watch = Watch(run, {stage})
    faults.cut_off(cluster.hosts, host)
    try:
        noticed = watch.noticed(lambda: host.address not in cluster.alive())
        goes_on = watch.gone_on()
        run.succeed()
    finally:
        faults.back(cluster.hosts, host)
    table.add(watch.row("a worker host cut off for good", goes_on))
    assert run.lost() <= 1
    assert noticed <= NOTICED_S


def test_a_worker_cut_off_and_back(cluster: Cluster, table: Table) -> None:
    run = started(cluster, "back")
    stage, host = of_the_long_stage(run)
    watch = Watch(run, {stage})
    faults.cut_off(cluster.hosts, host)
    try:
        noticed = watch.noticed(lambda: host.address not in cluster.alive())
    finally:
        faults.back(cluster.hosts, host)
    goes_on = watch.gone_on()
    run.succeed()
    table.add(watch.row("a worker host cut off until noticed, and back", goes_on))
    assert run.lost() <= 1
    assert noticed <= NOTICED_S


def test_the_host_of_rank_0_cut_off(cluster: Cluster, table: Table) -> None:
    run = Run.start(cluster, "rank0", *GROUP, changes=ONE_STAGE)
    run.await_epochs(2, stages=1)
    assert group_hosts(run) == [worker.name for worker in cluster.workers]
    host = rank_0(run)
    watch = Watch(run, {run.running()})
    faults.cut_off(cluster.hosts, host)
    try:
        noticed = watch.noticed(lambda: host.address not in cluster.alive())
        goes_on = watch.gone_on()
    finally:
        faults.back(cluster.hosts, host)
    run.succeed()
    table.add(watch.row("the host of rank 0 of an elastic group (1:2) cut off, and back", goes_on))
    assert run.lost() <= 1
    assert noticed <= NOTICED_S


def test_a_raylet_killed(cluster: Cluster, table: Table) -> None:
    run = started(cluster, "raylet")
    stage, host = of_the_long_stage(run)
    watch = Watch(run, {stage})
    assert faults.kill(host, faults.RAYLET) == 1
    watch.noticed(lambda: host.address not in cluster.alive())
    goes_on = watch.gone_on()
    run.succeed()
    table.add(watch.row("a worker's raylet killed", goes_on))
    assert run.lost() <= 1


def test_the_driver_killed_and_resumed_elsewhere(cluster: Cluster, table: Table) -> None:
    run = started(cluster, "driver")
    watch = Watch(run, set(run.by_stage()))
    assert faults.kill(cluster.head, faults.DRIVER) >= 1
    watch.noticed(lambda: run.state() == "FAILED", watched=False)
    elsewhere = cluster.workers[1]
    environment = {**ENVIRONMENT, "RAY_AUTH_MODE": "token", "RAY_ADDRESS": f"{cluster.head.address}:6379"}
    log = cluster.hosts.folder / "resumed.log"
    words = [f"{VENV}/pmd", "resume", f"{SHARED}/driver/run", "--format", "csv"]
    resumed = elsewhere.start(*words, log=log, env=environment)
    goes_on = watch.gone_on(watched=False)
    assert resumed.wait(timeout=900) == 0, log.read_text()[-3000:]
    run.check_end()
    table.add(watch.row("the driver killed, `pmd resume` on another host", goes_on))
    assert run.lost() <= 1


def test_the_storage_read_only_for_a_while(cluster: Cluster, table: Table) -> None:
    run = started(cluster, "readonly")
    watch = Watch(run, set(run.by_stage()))
    with faults.storage_read_only(cluster.hosts):
        watch.noticed()
        time.sleep(READ_ONLY_S)
    goes_on = watch.gone_on()
    run.succeed()
    table.add(watch.row(f"the storage read-only for {READ_ONLY_S:.0f} s", goes_on))
    assert run.lost() <= 1


def test_the_disk_of_a_host_full(cluster: Cluster, table: Table) -> None:
    run = started(cluster, "full")
    stage, host = of_the_long_stage(run)
    watch = Watch(run, {stage}, ends=False)
    with faults.disk_full(host):
        goes_on = watch.gone_on()
        run.succeed()
    table.add(watch.row("the disk of a worker host full", goes_on))
    assert run.lost() <= 1


def test_a_run_beside_a_disk_that_is_full_already(cluster: Cluster) -> None:
    with faults.disk_full(cluster.workers[0]):
        run = Run.start(cluster, "beside", changes=BRIEF)
        run.succeed()
    assert {tries[-1].host for tries in run.by_stage().values()} == {cluster.workers[1].name}
    assert run.lost() == 0


def group_hosts(run: Run) -> list[str]:
    """The host of each worker of a group."""
    workers = run.cluster.workers
    return [host.name for host in workers for line in host.processes().values() if faults.GROUP_WORKER.match(line)]


def rank_0(run: Run) -> Host:
    """The host that wrote the stage's curves last, as only the first worker does."""
    written = (run.store.work(run.running()) / "tensorboard").rglob("events.out.tfevents.*")
    last = max(written, key=lambda place: place.stat().st_mtime)
    return next(host for host in run.cluster.workers if f".{host.name}." in last.name)
