"""How long a tree takes with several stages at once: simulated, the longest remaining chain first, as runs do it."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping

from pmd_ray.plan.tree import PlannedStage, StageTree


def wall_seconds(tree: StageTree, seconds: Mapping[str, float], *, stored: Collection[str], slots: int) -> float:
    """Wall-clock of all stages that are not stored.

    Args:
        tree: A stage starts when its teacher is stored.
        seconds: Wall-clock of each stage by key.
        stored: Keys that cost nothing.
        slots: Stages at once, 1 or more.
    """
    done = set(stored) & set(tree.stages)
    cost = {key: 0.0 if key in done else seconds[key] for key in tree.stages}
    first = tree.longest_from(cost)
    place = {key: number for number, key in enumerate(tree.stages)}
    ready = [(-first[stage.key], place[stage.key], stage.key) for stage in tree.stages.values() if _free(stage, done)]
    heapq.heapify(ready)
    running: list[tuple[float, int, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            _, _, key = heapq.heappop(ready)
            heapq.heappush(running, (now + cost[key], place[key], key))
        now, _, key = heapq.heappop(running)
        done.add(key)
        for child in tree.stages[key].children:
            if child not in done:
                heapq.heappush(ready, (-first[child], place[child], child))
    return now


def _free(stage: PlannedStage, done: Collection[str]) -> bool:
    """Whether a stage that is not stored waits for nobody."""
    return stage.key not in done and (stage.teacher_key is None or stage.teacher_key in done)
