"""Before Ray starts: plans that cannot run are refused, its chatter is off, what the caller has set stays."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_ray.run import cluster
from pmd_ray.run.autoscaler import Growth
from pmd_ray.run.cluster import RAY_DEFAULTS, cluster_for, connected, leads, prepare_ray, refuse_too_large
from pmd_ray.run.stage_nodes import StageNodes
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.errors import UserError, WorkerError

LEFT = WorkerPlan.parse("1,side=left")


def test_a_local_plan_starts_no_ray() -> None:
    code = (
        "import sys\nfrom pmd_ray.run.cluster import connected, refuse_too_large\n"
        "from pmd_ray.run.workers import WorkerPlan\n"
        "refuse_too_large(WorkerPlan())\n"
        "with connected(WorkerPlan()): sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_too_many_workers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cluster, "_is_connected", lambda: False)  # whatever other tests have started
    refuse_too_large(WorkerPlan(4, 4))
    refuse_too_large(WorkerPlan(2, 64))
    with pytest.raises(UserError, match="8 workers need 8 CPU, this machine has 4; ask for at most 4"):
        refuse_too_large(WorkerPlan(8, 8))
    monkeypatch.setenv("RAY_ADDRESS", "ray.example:6379")
    refuse_too_large(WorkerPlan(8, 8))


def test_torchrun_and_workers_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    refuse_too_large(WorkerPlan())
    with pytest.raises(UserError, match="leave --workers out"):
        refuse_too_large(WorkerPlan(1, 2))


def test_one_process_of_torchrun_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert leads()
    monkeypatch.setenv("RANK", "0")
    assert leads()
    monkeypatch.setenv("RANK", "1")
    assert not leads()


def test_what_the_caller_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    train = logging.getLogger("ray.train")
    monkeypatch.setattr(train, "level", logging.NOTSET)
    for name in RAY_DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    prepare_ray()
    assert train.level == logging.WARNING
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert os.environ["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
    train.setLevel(logging.INFO)
    with connected(WorkerPlan()):
        assert train.level == logging.INFO


@pytest.mark.parametrize("slow", [0, 2, 3])
def test_a_ray_that_starts_slowly_is_started_again(slow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    given: list[dict[str, object]] = []

    def init(**options: object) -> None:
        given.append(options)
        if len(given) <= slow:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    if slow == 3:
        with pytest.raises(WorkerError, match="did not start, 3 times"):
            cluster._start_patiently(num_cpus=2)
    else:
        cluster._start_patiently(num_cpus=2)
    assert given == [{"num_cpus": 2}] * min(slow + 1, 3)


def test_a_ray_that_cannot_start_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**options: object) -> None:
        raise ValueError("bad")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ValueError, match="bad"):
        cluster._start_patiently()


@pytest.mark.ray
def test_another_ray_of_this_machine_is_left_alone() -> None:
    """Ray joins what a file says was started last, whether it is there still or not."""
    code = (
        "import os, ray\nfrom pmd_ray.run.cluster import connected\nfrom pmd_ray.run.workers import WorkerPlan\n"
        "with connected(WorkerPlan(1, 2, cpus=1)): print(ray.cluster_resources()['CPU'] == os.cpu_count())"
    )
    # Short, for the paths of sockets.
    with tempfile.TemporaryDirectory(prefix="pmd-") as folder:
        Path(folder, "ray").mkdir()
        Path(folder, "ray", "ray_current_cluster").write_text("127.0.0.1:1", encoding="utf-8")
        settings = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**settings, "RAY_TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    assert "`ray start` was called on this machine (127.0.0.1:1); to train there: RAY_ADDRESS=auto" in done.stderr
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["True"])


@pytest.mark.ray
def test_labels_that_no_node_has_are_refused_and_others_kept_to(ray_running: None) -> None:
    import ray

    with pytest.raises(UserError, match="no node has side=left"), cluster_for(LEFT, cpus=1, gpus=0):
        pass
    node = ray.nodes()[0]["NodeID"]
    plan = WorkerPlan.parse(f"1,ray.io/node-id={node}")
    with cluster_for(plan, cpus=1, gpus=0):
        where = ray.remote(num_cpus=1)(lambda: ray.get_runtime_context().get_node_id())
        options = StageNodes(plan=plan).options("a", resources={"CPU": 1.0})
        assert options and ray.get(where.options(**options).remote()) == node


def test_a_chain_that_trains_here_chooses_no_nodes() -> None:
    with pytest.raises(UserError, match="side=left would choose among the nodes"), connected(LEFT):
        pass


def pretended(cpus: float, gpus: float = 0.0, *, alive: bool = True, **more: Any) -> dict[str, Any]:
    """A node as `ray.nodes()` tells of it."""
    resources = {"CPU": cpus, "GPU": gpus, **more} if gpus else {"CPU": cpus, **more}
    return {
        "Alive": alive,
        "NodeManagerAddress": "10.0.0.2",
        "Resources": resources if alive else {},
        "Labels": {"side": "right"},
    }


HEAD_NODE = pretended(0, **{cluster.HEAD_MARK: 1.0})
TWO_GPUS = [HEAD_NODE, *[pretended(8, 2)] * 4]
GROUP = WorkerPlan.parse("4", gpu=True, cpus=2)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A cluster of pretended nodes."""
    import ray

    def show(
        nodes: list[dict[str, Any]], *, may_come: bool = False, types: list[Growth] | None = None, named: bool = True
    ) -> None:
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "nodes", lambda: nodes)
        monkeypatch.setattr(cluster, "more_may_come", lambda: may_come)
        monkeypatch.setattr(cluster, "growth", lambda: types)
        if named:
            monkeypatch.setenv("RAY_ADDRESS", "pretended")
        else:
            monkeypatch.delenv("RAY_ADDRESS", raising=False)

    return show


def asked(plan: WorkerPlan, *, cpus: float = 1, gpus: float = 0) -> None:
    with cluster_for(plan, cpus=cpus, gpus=gpus):
        pass


@pytest.mark.parametrize(
    ("plan", "cpus", "gpus", "said"),
    [
        (WorkerPlan(), 64, 0, r"--cpus: a stage wants 64 CPU, there are 5 nodes with 32 CPU and 8 GPU, at most 8 CPU"),
        (WorkerPlan(), 1, 8, r"--gpus: a stage wants 1 CPU and 8 GPU, .* at most 8 CPU and 2 GPU on one node, and no"),
        (WorkerPlan(), 1, 9, r"--gpus: a stage wants 9 GPU, Ray sees 8; leave --gpus out"),
        (WorkerPlan.parse("9", gpu=True, cpus=1), 1, 1, "--workers: a stage wants 9 workers of 1 CPU and 1 GPU, there"),
        (WorkerPlan.parse("5", cpus=5), 5, 0, "--workers: a stage wants 5 workers of 5 CPU, there"),
        (LEFT, 1, 0, "no node has side=left; leave it out"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("named", [True, False])
def test_what_no_node_can_ever_hold_is_refused(
    seen: Callable[..., None],
    plan: WorkerPlan,
    cpus: float,
    gpus: float,
    said: str,
    named: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen(TWO_GPUS, may_come=not named, named=named)  # a Ray of this machine does not grow, whatever it reports
    monkeypatch.setattr(cluster, "_is_connected", lambda: True)
    with pytest.raises(UserError, match=said):
        asked(plan, cpus=cpus, gpus=gpus)


def test_what_fits_is_not_spoken_of(seen: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    seen(TWO_GPUS)
    asked(WorkerPlan(), cpus=8, gpus=2)
    asked(WorkerPlan(), cpus=1, gpus=0.5)
    asked(WorkerPlan.parse("8", gpu=True, cpus=4), cpus=4, gpus=1)
    asked(WorkerPlan.parse("1,side=right"))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("plan", "cpus", "gpus", "said"),
    [
        (WorkerPlan(), 64, 0, "a stage wants 64 CPU, there are 5 nodes with 32 CPU and 8 GPU; stages wait until the"),
        (WorkerPlan(), 1, 8, "a stage wants 1 CPU and 8 GPU, there are 5 nodes"),
        (WorkerPlan.parse("9", gpu=True, cpus=1), 1, 1, "a stage wants 9 workers of 1 CPU and 1 GPU, there are"),
        (LEFT, 1, 0, "no node has side=left yet; stages wait"),
    ],
)
def test_what_may_come_is_waited_for_with_one_word(
    seen: Callable[..., None], plan: WorkerPlan, cpus: float, gpus: float, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen(TWO_GPUS, may_come=True)
    asked(plan, cpus=cpus, gpus=gpus)
    (line,) = caplog.messages
    assert line.startswith(said)


def test_the_limits_of_an_autoscaler_decide(seen: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    types = [Growth(resources={"CPU": 0.0}, most=1), Growth(resources={"CPU": 8.0, "GPU": 1.0}, most=3)]
    seen([HEAD_NODE], may_come=True, types=types)
    asked(WorkerPlan(), cpus=8, gpus=1)
    asked(WorkerPlan.parse("3", gpu=True, cpus=8))
    assert len(caplog.messages) == 2
    with pytest.raises(UserError, match="a stage wants 4 workers of 2 CPU and 1 GPU"):
        asked(GROUP)
    with pytest.raises(UserError, match="--cpus: a stage wants 9 CPU"):
        asked(WorkerPlan(), cpus=9)
    seen([HEAD_NODE], types=[Growth(resources={"CPU": c, "GPU": 1.0}, most=math.inf) for c in (0.0, 2.0)])
    asked(GROUP)
    seen([HEAD_NODE, pretended(4)], may_come=True, types=[Growth(resources={"CPU": 4.0}, most=9)])
    with pytest.raises(UserError, match="a stage wants 4 workers of 2 CPU and 1 GPU"):
        asked(GROUP)


def test_a_node_that_is_away_may_come_back(seen: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    seen([HEAD_NODE, pretended(2), pretended(2, alive=False)])
    asked(WorkerPlan.parse("4", cpus=1))
    (line,) = caplog.messages
    assert line.startswith("a stage wants 4 workers of 1 CPU, there are 2 nodes with 2 CPU")
    with pytest.raises(UserError, match="Ray sees 0"):
        asked(WorkerPlan(), gpus=1)
