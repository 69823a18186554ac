"""Before Ray starts: plans that cannot run are refused, its chatter is off, what the caller has set stays."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pmd_ray.run import cluster
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
