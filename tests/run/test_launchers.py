"""What Ray is told of a task: one that trains asks for what it uses, one that starts a group is capped and spread."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray

from pmd_ray.run import ray_pool
from pmd_ray.run.ray_pool import LAUNCHER_BYTES, RayPool
from pmd_ray.run.stage_call import StudySetting
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.places import Places


def told_to_ray(monkeypatch: pytest.MonkeyPatch, plan: WorkerPlan, *, cpus: float, gpus: float) -> dict[str, Any]:
    """The options of the tasks of a pool that is never started."""
    told: list[dict[str, Any]] = []

    def remote(**options: Any) -> Any:
        told.append(options)
        return lambda function: function

    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.1:6379"))
    monkeypatch.setattr(ray_pool, "Mailbox", lambda hear: None)
    setting = StudySetting(storage="", study="s", places=Places(), device="cpu", threads=1, plan=plan, command="")
    RayPool(setting, cpus=cpus, gpus=gpus, slots=None, listen=lambda event: None)
    (options,) = told
    return options


@pytest.mark.parametrize("gpus", [0.0, 0.5, 2.0])
def test_a_stage_by_itself_asks_for_what_it_uses(monkeypatch: pytest.MonkeyPatch, gpus: float) -> None:
    options = told_to_ray(monkeypatch, WorkerPlan(), cpus=4, gpus=gpus)
    assert options == {"num_cpus": 4, "max_retries": 0} | ({"num_gpus": gpus} if gpus else {})


@pytest.mark.parametrize("workers", ["4", "2:8", "4,spread"])
def test_launchers_of_groups_are_capped_by_memory_and_spread(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    plan = WorkerPlan.parse(workers, gpu=True, cpus=4)
    options = told_to_ray(monkeypatch, plan, cpus=4, gpus=1)
    # The group's workers ask for cores and GPUs; a launcher that did as well could keep its own group waiting for ever.
    assert options["num_cpus"] == 0 and "num_gpus" not in options
    assert options["memory"] == LAUNCHER_BYTES >= 800e6, "its helpers take 0.5 to 0.8 GB"
    assert options["scheduling_strategy"] == "SPREAD"
    assert options["max_retries"] == 0
    assert options["runtime_env"] == {"env_vars": {"RAY_ADDRESS": "10.0.0.1:6379"}}
