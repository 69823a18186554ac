"""Before anything is sent: a cluster of other versions, without GPUs or without room is refused, or waited for."""

from __future__ import annotations

import platform
from importlib.metadata import version

import pytest
from reference.pretend_cluster import HEAD, PretendCluster, worker

from pmd_ray.run.cluster_fit import Wanted, await_workers, check_versions
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.errors import UserError

GPU = Wanted(gpus=1.0)


def waited(cluster: PretendCluster, wanted: Wanted, *, seconds: float = 60.0) -> tuple[bool, list[str], float]:
    """Whether there is room, what was said, and the seconds that passed."""
    now, said = [0.0], list[str]()

    def sleep(pause: float) -> None:
        now[0] += pause

    there = await_workers(cluster, wanted, seconds=seconds, say=said.append, sleep=sleep, clock=lambda: now[0])
    return there, said, now[0]


def test_the_same_versions_are_well() -> None:
    check_versions(PretendCluster())
    python = ".".join(platform.python_version().split(".")[:2])
    check_versions(PretendCluster(told_versions={"ray": version("ray"), "python": f"{python}.99"}))
    check_versions(PretendCluster(told_versions={"ray": version("ray")}))  # an older Ray does not tell


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"ray": "2.9.1"}, rf"has Ray 2\.9\.1 \(here: {version('ray')}\); install the same"),
        ({"python": "3.8.10"}, r"has Python 3\.8\.10 \(here: "),
        ({"ray": "2.9.1", "python": "3.8.10"}, r"Ray 2\.9\.1 .* and Python 3\.8\.10"),
    ],
)
def test_other_versions_are_refused(told: dict[str, str], words: str) -> None:
    cluster = PretendCluster()
    cluster.told_versions |= told
    with pytest.raises(UserError, match=words):
        check_versions(cluster)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(cpus=4), True),
        (Wanted(cpus=5), False),
        (Wanted(workers=4), True),
        (Wanted(workers=5), False),
        (Wanted(cpus=2, gpus=0.5), True),
        (Wanted(workers=2, gpus=0.5), True),
        (Wanted(workers=3, gpus=0.5), False),
        (GPU, True),
        (Wanted(gpus=2), False),
    ],
)
def test_what_fits(wanted: Wanted, fits: bool) -> None:
    assert wanted.fits([HEAD, worker(cpus=4, gpus=1)]) is fits


def test_a_group_may_be_spread() -> None:
    assert Wanted(workers=5).fits([HEAD, worker(), worker()])
    assert not Wanted(cpus=5).fits([HEAD, worker(), worker()])


def test_only_nodes_with_the_labels_count() -> None:
    wanted = Wanted.of(WorkerPlan.parse("1,market=spot"), cpus=2, gpus=0)
    assert wanted.fits([HEAD, worker(), worker(market="spot")])
    assert not wanted.fits([HEAD, worker(), worker(market="on-demand")])
    group = Wanted.of(WorkerPlan.parse("2,market=spot", cpus=4), cpus=4, gpus=0)
    assert not group.fits([HEAD, worker(), worker(market="spot")])
    assert group.fits([HEAD, worker(market="spot"), worker(market="spot")])
    with pytest.raises(UserError, match="a stage wants 2 CPU on nodes with market=spot, there are 2 nodes with 4 CPU"):
        waited(PretendCluster(), wanted, seconds=1)


def test_what_a_stage_wants() -> None:
    assert Wanted.of(WorkerPlan(), cpus=2, gpus=0.5) == Wanted(cpus=2, gpus=0.5)
    group = WorkerPlan.parse("2:8", gpu=True, cpus=2)
    assert Wanted.of(group, cpus=2, gpus=1) == Wanted(workers=2, cpus=2, gpus=1)
    assert group.resources() == {"CPU": 2, "GPU": 1}, "what the job will ask for, whatever this machine has"
    assert WorkerPlan.parse("1", cpus=2) == WorkerPlan.parse("1:1") == WorkerPlan()


def test_room_is_no_wait() -> None:
    assert waited(PretendCluster(), Wanted()) == (True, [], 0.0)


def test_workers_are_waited_for_and_what_is_missing_is_said_once() -> None:
    cluster = PretendCluster(looks=[[HEAD], [HEAD], [HEAD, worker(1)], [HEAD, worker(4)]])
    there, said, passed = waited(cluster, Wanted(cpus=2))
    assert there and 0 < passed < 60
    assert said == [
        "waiting for workers: a stage wants 2 CPU, there are 1 node with 0 CPU and 0 GPU",
        "waiting for workers: a stage wants 2 CPU, there are 2 nodes with 1 CPU and 0 GPU",
    ]


def test_workers_that_do_not_come_are_an_error() -> None:
    with pytest.raises(UserError, match=r"did not come within 60 s: a stage wants 1 CPU, .*--wait-workers"):
        waited(PretendCluster(looks=[[HEAD]]), Wanted())


def test_no_gpu_and_nobody_to_add_one_is_told_at_once() -> None:
    with pytest.raises(UserError, match="no GPU in the cluster at http://head:8265, and no autoscaler"):
        waited(PretendCluster(), GPU, seconds=1e9)


def test_a_cluster_that_grows_on_demand_is_asked_by_the_job() -> None:
    for nodes in ([HEAD], [HEAD, worker(1)]):  # one that is too small brings nobody
        there, said, passed = waited(PretendCluster(looks=[nodes], growing=True), GPU, seconds=300)
        assert not there and 15 <= passed < 20
        assert "the cluster grows on demand" in said[-1]


def test_one_that_grows_by_itself_is_waited_for() -> None:
    looks = [[HEAD], [HEAD, worker(1)], [HEAD, worker(1)], [HEAD, worker(4)]]
    assert waited(PretendCluster(looks=list(looks), growing=True), Wanted(cpus=2))[0]
    there, said, passed = waited(PretendCluster(looks=[[HEAD, worker(1)]], growing=True, pending=True), Wanted(cpus=2))
    assert not there and passed >= 60 and "may grow on demand" in said[-1]
