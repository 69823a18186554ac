"""On which nodes stages run: which of them are gone, and which to keep a stage away from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

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
    """

    def __init__(
        self,
        nodes: Callable[[], list[dict[str, Any]]] = lambda: list(ray.nodes()),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes, self._clock = nodes, clock
        self._at: dict[str, StagePlaced] = {}
        """Where a stage began last."""
        self._refused: dict[str, set[str]] = {}
        """Nodes whose disk refused a stage."""
        self._looked = -LOOK_EVERY_S

    def began(self, placed: StagePlaced) -> None:
        """A stage tells where it is."""
        self._at[placed.key] = placed

    def submitted(self, key: str) -> None:
        """It is nowhere until it begins."""
        self._at.pop(key, None)

    def refused(self, key: str) -> None:
        """The disk refused a stage where it ran last."""
        if key in self._at:
            self._refused.setdefault(key, set()).add(self._at[key].node)

    def lost(self, running: set[str]) -> dict[str, str]:
        """Of the running stages those whose nodes are gone, with the nodes' addresses; looks now and then."""
        if not running or self._clock() - self._looked < LOOK_EVERY_S:
            return {}
        self._looked = self._clock()
        placed = [self._at[key] for key in running if key in self._at]
        alive = {node["NodeID"] for node in self._nodes() if node["Alive"]} if placed else set()
        return {place.key: place.address for place in placed if place.node not in alive}

    def options(self, key: str, *, resources: dict[str, float]) -> dict[str, Any]:
        """What a task's options say so that a stage keeps away from nodes whose disk refused it.

        Nothing where no other node could hold it: then the storage, or the only node, is tried again.

        Args:
            resources: What the task, or each of its workers, asks for.
        """
        refused = self._refused.get(key)
        if not refused:
            return {}
        others = [node for node in self._nodes() if node["Alive"] and node["NodeID"] not in refused]
        holds = (all(node["Resources"].get(name, 0) >= least for name, least in resources.items()) for node in others)
        return {"label_selector": {NODE_ID: f"!in({','.join(sorted(refused))})"}} if any(holds) else {}
