"""The wall-clock of a tree: no shorter than its longest chain or its work shared out, no longer than all of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.plan.schedule import wall_seconds
from pmd_ray.plan.tree import StageTree


def tree(parents: list[int | None]) -> StageTree:
    """Stages 0, 1, ... with the given teachers."""
    stages: dict[str, Any] = {}
    for number, parent in enumerate(parents):
        teacher = None if parent is None else str(parent)
        stages[str(number)] = SimpleNamespace(key=str(number), teacher_key=teacher, children=[])
        if teacher is not None:
            stages[teacher].children.append(str(number))
    return StageTree(stages, (), len(parents))


@st.composite
def forests(draw: st.DrawFn) -> tuple[StageTree, dict[str, float], int, set[str]]:
    count = draw(st.integers(1, 12))
    parents = [draw(st.none() | st.integers(0, place - 1)) if place else None for place in range(count)]
    seconds = {str(number): float(draw(st.integers(0, 20))) for number in range(count)}
    stored = draw(st.sets(st.sampled_from(sorted(seconds))))
    return tree(parents), seconds, draw(st.integers(1, 4)), stored


@given(forests())
def test_bounds(case: tuple[StageTree, dict[str, float], int, set[str]]) -> None:
    made, seconds, slots, stored = case
    left = {key: 0.0 if key in stored else cost for key, cost in seconds.items()}
    work, chain = sum(left.values()), max(made.longest_from(left).values())
    found = wall_seconds(made, seconds, stored=stored, slots=slots)
    assert work / slots - 1e-9 <= found <= work
    assert stored or found >= chain  # below a stored stage, chains begin in their middle
    # Graham's bound for list schedules.
    assert found <= work / slots + chain * (1 - 1 / slots) + 1e-9


def test_one_slot_takes_all_the_time() -> None:
    assert wall_seconds(tree([None, 0, 0]), {"0": 1.0, "1": 2.0, "2": 3.0}, stored=(), slots=1) == 6.0


def test_the_longest_chain_goes_first() -> None:
    # A chain of three beside three single stages: started last, the chain would end at 5.
    made = tree([None, None, None, None, 3, 4])
    assert wall_seconds(made, dict.fromkeys(made.stages, 1.0), stored=(), slots=2) == 3.0


def test_stored_stages_cost_nothing() -> None:
    made = tree([None, 0, 1])
    seconds = dict.fromkeys(made.stages, 1.0)
    assert wall_seconds(made, seconds, stored={"0", "1"}, slots=1) == 1.0
    assert wall_seconds(made, seconds, stored=made.stages.keys(), slots=1) == pytest.approx(0.0)
