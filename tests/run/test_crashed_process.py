"""A stage whose process dies before it has kept anything is sent to each node in turn: its disk may be full."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from pmd_ray.run import ray_pool
from pmd_ray.run.ray_pool import RayPool
from pmd_ray.run.stage_call import StudySetting
from pmd_ray.run.task_outcome import CRASHED, UNPREPARED, task_outcome
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.places import Places

NODES = ("a" * 56, "b" * 56)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> RayPool:
    """Of two nodes; nothing is started."""
    monkeypatch.setattr(ray, "remote", lambda **options: lambda function: function)
    told = [{"NodeID": node, "Alive": True, "Resources": {"CPU": 1.0}, "Labels": {}} for node in NODES]
    monkeypatch.setattr(ray, "nodes", lambda: told)
    monkeypatch.setattr(ray_pool, "Mailbox", lambda hear: None)
    plan = WorkerPlan()
    setting = StudySetting(storage="", study="s", places=Places(), device="cpu", threads=1, plan=plan, command="")
    return RayPool(setting, cpus=1, gpus=0, slots=None, listen=lambda event: None)


def ends_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The next task that is asked for its result."""

    def get(reference: Any) -> Any:
        raise error

    monkeypatch.setattr(ray, "get", get)


def sent_to(pool: RayPool) -> list[str]:
    """The nodes that the next tries of a stage are sent to; none: wherever there is room."""
    options = pool._nodes.options("stage", resources={"CPU": 1.0})
    return [options["scheduling_strategy"].node_id] if options else []


@pytest.mark.parametrize(
    ("error", "signature"),
    [
        (ray.exceptions.WorkerCrashedError(), CRASHED),
        (ray.exceptions.RuntimeEnvSetupError("no space left"), UNPREPARED),
        (ray.exceptions.TaskCancelledError(), ""),
    ],
)
def test_what_is_told_of_a_process_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, error: Exception, signature: str
) -> None:
    ends_with(monkeypatch, error)
    found = task_outcome("stage", object())
    assert (found.kind, found.signature) == (FailureKind.NODE_LOST, signature)


def test_crashes_before_the_first_epoch_go_round(pool: RayPool, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(monkeypatch, ray.exceptions.WorkerCrashedError())
    tried = []
    for _ in range(3):
        assert pool._ended("stage", object()).kind is FailureKind.NODE_LOST
        tried += sent_to(pool)
    assert tried == [NODES[1], NODES[0], NODES[1]]


def test_a_process_that_had_kept_an_epoch_may_come_back(pool: RayPool, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(monkeypatch, ray.exceptions.WorkerCrashedError())
    pool._kept.add("stage")
    assert pool._ended("stage", object()).progressed
    assert sent_to(pool) == []


def test_one_that_was_told_to_stop_is_no_sign_of_its_node(pool: RayPool, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(monkeypatch, ray.exceptions.WorkerCrashedError())
    reference = object()
    pool._ending[reference] = 1.0
    pool._ended("stage", reference)
    assert sent_to(pool) == []
