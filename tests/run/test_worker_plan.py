"""Plans of workers: what a person may write, and what Ray is asked for."""

from __future__ import annotations

import os

import pytest

from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.errors import UserError


@pytest.mark.parametrize(
    ("text", "local", "count"), [("1", True, 1), (" 4 ", False, 4), ("2:8", False, (2, 8)), ("1:2", False, (1, 2))]
)
def test_what_may_be_written(text: str, local: bool, count: int | tuple[int, int]) -> None:
    plan = WorkerPlan.parse(text)
    assert (plan.local, plan.count) == (local, count)


@pytest.mark.parametrize(
    "text", ["0", "", "four", "4:2", "0:2", "1:2:3", "-1", "1.5", "2:", "4,pack", "4 spread", "1,=x", "1,a=", "1,a=b c"]
)
def test_what_may_not(text: str) -> None:
    with pytest.raises(UserError, match="must be a number from 1, or LEAST:MOST"):
        WorkerPlan.parse(text)


def test_cores_are_shared_by_the_most_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert WorkerPlan.parse("4").resources() == {"CPU": 4}
    assert WorkerPlan.parse("2:8").resources() == {"CPU": 2}
    assert WorkerPlan.parse("64").resources() == {"CPU": 1}
    assert WorkerPlan.parse("4", gpu=True).resources() == {"CPU": 4, "GPU": 1}
    assert WorkerPlan(2, 2, cpus=0.5).resources() == {"CPU": 0.5}


def test_workers_are_packed_unless_they_are_to_be_spread() -> None:
    assert not WorkerPlan.parse("4").spread and WorkerPlan.parse("4,spread").spread
    assert WorkerPlan.parse("1,spread") == WorkerPlan(), "one is where it is"


@pytest.mark.parametrize("text", ["1", "4", "2:8", "4,spread", "2:8,spread,a/b=c", "1,a=b,c=d"])
def test_a_plan_is_written_as_it_is_read(text: str) -> None:
    assert WorkerPlan.parse(text).text == text


def test_labels_choose_nodes() -> None:
    plan = WorkerPlan.parse("1,pmd-ray/market=on-demand")
    node = {"Alive": True, "Labels": {"pmd-ray/market": "on-demand"}}
    assert plan.may_use(node) and WorkerPlan().may_use(node)
    assert not plan.may_use({**node, "Alive": False}) and not plan.may_use({**node, "Labels": {}})
    with pytest.raises(UserError, match="pmd-ray/market=on-demand would choose among the nodes of a cluster"):
        plan.refuse_labels()
    WorkerPlan.parse("2,pmd-ray/market=on-demand").refuse_labels()
