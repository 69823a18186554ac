"""Nodes that are gone lose their stages; nodes whose disk refused a stage are avoided while others can hold it."""

from __future__ import annotations

from typing import Any

from pmd_ray.run.stage_nodes import LOOK_EVERY_S, NODE_ID, StageNodes, StagePlaced
from pmd_ray.run.workers import WorkerPlan


class World:
    """Nodes that come and go, and a clock."""

    def __init__(self, *names: str) -> None:
        self.nodes = {
            name: {"NodeID": name, "Alive": True, "Resources": {"CPU": 1.0}, "Labels": {"side": name}} for name in names
        }
        self.now = 0.0

    def known(self, workers: str = "1") -> StageNodes:
        plan = WorkerPlan.parse(workers)
        return StageNodes(lambda: list(self.nodes.values()), lambda: self.now, plan=plan)

    def end(self, name: str) -> None:
        self.nodes[name] = {**self.nodes[name], "Alive": False, "Resources": {}}


def test_stages_of_a_node_that_is_gone_are_lost_once_it_is_looked_at() -> None:
    world = World("left", "right")
    known = world.known()
    known.began(StagePlaced("a", "left", "10.0.0.1"))
    known.began(StagePlaced("b", "right", "10.0.0.2"))
    assert known.lost({"a", "b"}) == {}
    world.end("left")
    assert known.lost({"a", "b"}) == {}
    world.now += LOOK_EVERY_S
    assert known.lost({"a", "b"}) == {"a": "10.0.0.1"}


def test_a_stage_that_is_submitted_again_is_nowhere() -> None:
    world = World("left")
    known = world.known()
    known.began(StagePlaced("a", "left", "10.0.0.1"))
    world.end("left")
    known.submitted("a")
    assert known.lost({"a"}) == {}


def test_a_node_that_refused_is_avoided_while_another_holds_the_stage() -> None:
    world = World("left", "right")
    known = world.known()
    asked: dict[str, Any] = {"resources": {"CPU": 1.0, "GPU": 0.0}}
    assert known.options("a", **asked) == {}
    known.began(StagePlaced("a", "left", "10.0.0.1"))
    known.refused("a")
    assert known.options("a", **asked) == {"label_selector": {NODE_ID: "!in(left)"}}
    assert known.options("a", resources={"CPU": 2.0}) == {}
    assert known.options("b", **asked) == {}
    world.end("right")
    assert known.options("a", **asked) == {}


def test_stages_keep_to_the_nodes_that_have_a_label() -> None:
    world = World("left", "right")
    known = world.known("1,side=left")
    assert known.resources() == {"CPU": 1.0}
    assert known.options("a", resources={"CPU": 1.0}) == {"label_selector": {"side": "left"}}
    known.refused("a", "left")
    assert known.options("a", resources={"CPU": 1.0}) == {"label_selector": {"side": "left"}}, "no other has it"
    world.nodes["third"] = {**world.nodes["left"], "NodeID": "third"}
    assert known.options("a", resources={"CPU": 1.0}) == {"label_selector": {"side": "left", NODE_ID: "!in(left)"}}
    assert world.known().resources() == {"CPU": 3.0}


def test_a_stage_that_could_not_begin_is_sent_to_each_node_in_turn() -> None:
    left, right = "a" * 56, "b" * 56  # Ray's own checks want whole numbers
    known = World(left, right).known()
    sent = []
    for _ in range(3):
        known.unprepared("a")
        sent.append(known.options("a", resources={"CPU": 1.0})["scheduling_strategy"].node_id)
    assert sent == [right, left, right]
    known.began(StagePlaced("a", right, "10.0.0.2"))
    known.refused("a")
    assert known.options("a", resources={"CPU": 1.0})["scheduling_strategy"].node_id == left


def test_a_group_keeps_away_from_the_node_that_its_worker_names() -> None:
    """The launcher was elsewhere: it is not the launcher's node whose disk refused."""
    world = World("left", "right", "third")
    known = world.known()
    known.began(StagePlaced("a", "left", "10.0.0.1"))
    known.refused("a", "right")
    assert known.away("a", resources={"CPU": 1.0}, workers=2) == {NODE_ID: "!in(right)"}
    assert known.away("a", resources={"CPU": 1.0}, workers=3) == {}, "then the full one is needed"
    assert known.away("a", resources={"CPU": 0.5, "GPU": 0.0}, workers=4) == {NODE_ID: "!in(right)"}
    assert known.away("b", resources={"CPU": 1.0}) == {}
