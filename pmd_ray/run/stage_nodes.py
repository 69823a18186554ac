"""On which nodes stages run: which of them are gone, and which to keep a stage away from."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pmd_ray.run.workers import WorkerPlan

LOOK_EVERY_S = 2.0
"""Between two looks at which nodes there are."""
NODE_ID = "ray.io/node-id"
"""A label that every node has."""


@dataclass(frozen=True)
class StagePlaced:
    """A stage begins on a node."""

    key: str
    node: str
    address: str


class StageNodes:
    """What is known of the nodes of running stages.

    Ray tells of a node that was cut off within seconds; of the tasks on it only minutes later, when a connection that
    says nothing is given up. So we look ourselves.

    Args:
        plan: Which nodes stages may use.
    """

    def __init__(
        self,
        nodes: Callable[[], list[dict[str, Any]]] = lambda: list(ray.nodes()),
        clock: Callable[[], float] = time.monotonic,
        *,
        plan: WorkerPlan | None = None,
    ) -> None:
        self._nodes, self._clock, self._plan = nodes, clock, plan or WorkerPlan()
        self._at: dict[str, StagePlaced] = {}
        """Where a stage began last."""
        self._refused: dict[str, set[str]] = {}
        """Nodes whose disk refused a stage."""
        self._unprepared: Counter[str] = Counter()
        """How often a node could not make a process for a stage; which node, Ray does not say."""
        self._looked = -LOOK_EVERY_S

    def resources(self) -> Counter[str]:
        """Of all nodes that stages may use."""
        there = Counter[str]()
        for node in filter(self._plan.may_use, self._nodes()):
            there.update(node["Resources"])
        return there

    def began(self, placed: StagePlaced) -> None:
        """A stage tells where it is."""
        self._at[placed.key] = placed

    def submitted(self, key: str) -> None:
        """It is nowhere until it begins."""
        self._at.pop(key, None)

    def refused(self, key: str, node: str | None = None) -> None:
        """The disk refused a stage on a node; by default where it ran last."""
        if node is None and key in self._at:
            node = self._at[key].node
        if node is not None:
            self._refused.setdefault(key, set()).add(node)

    def unprepared(self, key: str) -> None:
        """A node could not make a process for a stage, as one whose disk is full."""
        self._unprepared[key] += 1

    def lost(self, running: set[str]) -> dict[str, str]:
        """Of the running stages those whose nodes are gone, with the nodes' addresses; looks now and then."""
        if not running or self._clock() - self._looked < LOOK_EVERY_S:
            return {}
        self._looked = self._clock()
        placed = [self._at[key] for key in running if key in self._at]
        alive = {node["NodeID"] for node in self._nodes() if node["Alive"]} if placed else set()
        return {place.key: place.address for place in placed if place.node not in alive}

    def options(self, key: str, *, resources: dict[str, float]) -> dict[str, Any]:
        """What a task's options say so that a stage runs where it may, and keeps away from nodes whose disk refused it.

        One that could not begin is sent to each node in turn, and waits for it: what is free would be the same again.
        Where no other node could hold it the storage, or the only node, is tried again.

        Args:
            resources: What the task asks for.
        """
        turn = self._unprepared[key]
        if turn and (others := sorted(self._others(key, resources))):
            return {"scheduling_strategy": NodeAffinitySchedulingStrategy(others[turn % len(others)], soft=False)}
        labels = {**dict(self._plan.labels), **self.away(key, resources=resources)}
        return {"label_selector": labels} if labels else {}

    def away(self, key: str, *, resources: dict[str, float], workers: int = 1) -> dict[str, str]:
        """The labels of nodes whose disk has not refused a stage; none where these cannot hold it.

        Args:
            resources: What each worker asks for.
            workers: Of a group, at the least.
        """
        refused = self._refused.get(key, set())
        if not refused or sum(self._others(key, resources).values()) < workers:
            return {}
        return {NODE_ID: f"!in({','.join(sorted(refused))})"}

    def _others(self, key: str, resources: dict[str, float]) -> dict[str, int]:
        """How many workers each of the other nodes could hold, idle."""
        asked = {name: least for name, least in resources.items() if least}
        refused = self._refused.get(key, set())
        room: dict[str, int] = {}
        for node in self._nodes():
            if self._plan.may_use(node) and node["NodeID"] not in refused:
                there = node["Resources"]
                room[node["NodeID"]] = min(
                    (int(there.get(name, 0) // least) for name, least in asked.items()), default=1
                )
        return {node: count for node, count in room.items() if count}
