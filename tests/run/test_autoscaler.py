"""Whether nodes may still join a cluster: by what its autoscaler reports, and what is refused where none will."""

from __future__ import annotations

import time

import pytest

from pmd_ray.run.autoscaler import OWN_MACHINES, may_come, more_may_come
from pmd_ray.run.cluster import cluster_for
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.errors import UserError


@pytest.mark.parametrize(
    ("types", "starting", "expected"),
    [
        ({"10.0.0.1": OWN_MACHINES, "10.0.0.2": OWN_MACHINES}, False, False),
        ({"10.0.0.1": OWN_MACHINES}, True, True),
        ({"10.0.0.1": "head", "10.0.0.2": "gpu_1"}, False, True),
        ({"10.0.0.1": "head"}, False, True),
        ({"a": "node_a", "b": "node_b"}, False, False),
        ({}, False, True),
    ],
    ids=["own machines, all there", "own machines, some to come", "types", "a head alone", "by hand", "untold"],
)
def test_by_the_report(types: dict[str, str], starting: bool, expected: bool) -> None:
    assert may_come(types, starting=starting) is expected


@pytest.mark.ray
@pytest.mark.parametrize("workers", ["1", "2"])
def test_gpus_that_will_never_come_are_refused_in_the_job(
    ray_running: None, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    limit = time.monotonic() + 60
    while more_may_come() and time.monotonic() < limit:  # its first report takes a moment
        time.sleep(0.5)
    monkeypatch.setenv("RAY_ADDRESS", "this one")
    plan = WorkerPlan.parse(workers, gpu=True, cpus=1)
    said = r"1 GPU, Ray sees 0|2 workers of 1 CPU and 1 GPU, there are 1 node with \d+ CPU and 0 GPU"
    with pytest.raises(UserError, match=said), cluster_for(plan, cpus=1, gpus=1):
        pass
