"""The walk starts the same stages in the same order as the plain one, whatever happens, in time that grows in step."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from types import FrameType
from typing import Any, ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reference.plain_walk import PlainWalk

from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.run.study_events import StudyEvent
from pmd_ray.run.walk import LOOK_EVERY_S, Ending, StageJob, StageOutcome, Walk, Walked
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.chain_stages import Facts
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import StorageError
from pmd_ray.spec.study import StudyRun

WAITS_AT_MOST = 400
ENDINGS = [Ending.BUSY, Ending.STORED, Ending.BROKEN_TEACHER]
KINDS = [FailureKind.NODE_LOST, FailureKind.OUT_OF_MEMORY, FailureKind.NOT_FINITE, FailureKind.BUG, FailureKind.TIMEOUT]


class Weather:
    """What happens, drawn from a seed: the same for both walks as long as they ask the same.

    Args:
        trouble: Probability that an attempt does not end well, that a look finds a lease, that a slot is away.
    """

    def __init__(self, seed: int, *, trouble: float, slots: int, stored: set[str]) -> None:
        self._draw, self._trouble, self._slots = Random(seed), trouble, slots
        self.keys = set(stored)
        self.now = 0.0
        self.asked: list[tuple[str, str]] = []
        """Every look, start and stop, in order."""
        self.events: list[StudyEvent] = []
        self._running: list[StageJob] = []
        self._tries: dict[str, int] = defaultdict(int)
        self._waits = 0

    def has(self, key: str) -> bool:
        self.asked.append(("has", key))
        return key in self.keys

    def lease_held(self, key: str) -> bool:
        self.asked.append(("lease", key))
        if self._draw.random() < self._trouble:
            return True
        if self._draw.random() < self._trouble:
            self.keys.add(key)
        return False

    def set_aside(self, key: str, reason: str) -> str:
        self.asked.append(("aside", key))
        self.keys.discard(key)
        return ""

    def slots(self) -> int:
        return max(0, self._slots - (self._draw.random() < self._trouble))

    def submit(self, job: StageJob) -> None:
        self.asked.append((f"start with {job.grade.optimiser.micro_batch}", job.key))
        self._running.append(job)

    def wait(self, seconds: float) -> list[StageOutcome]:
        self._waits += 1
        if self._waits > WAITS_AT_MOST:
            raise TimeoutError
        self.now += seconds * self._draw.choice([0.1, 0.5, 1.0, 1.0])
        self._draw.shuffle(self._running)
        ended = self._draw.randint(0, min(3, len(self._running)))
        return [self._outcome(self._running.pop()) for _ in range(ended)]

    def _outcome(self, job: StageJob) -> StageOutcome:
        self._tries[job.key] += 1
        if self._draw.random() >= self._trouble:
            self.keys.add(job.key)
            return StageOutcome(key=job.key, ending=Ending.DONE)
        ending = self._draw.choice([*ENDINGS, *[Ending.FAILED] * 4])
        if ending is not Ending.FAILED:
            return StageOutcome(key=job.key, ending=ending)
        signature = self._draw.choice("abcdefgh")
        progressed = self._draw.random() < 0.5
        kind = self._draw.choice(KINDS)
        return StageOutcome(key=job.key, ending=ending, kind=kind, signature=signature, progressed=progressed)

    def cancel(self) -> None:
        self.asked.append(("cancel", ""))
        self._running.clear()


def tree_of(layers: list[list[int]], *, seeds: int, controls: bool = False) -> StageTree:
    """Chains that share what they begin with, as far as their depths are the same."""
    runs = []
    for place, listed in enumerate(layers):
        draft = {"layers": sorted(listed, reverse=True), "controls": controls, "optimiser": {"batch": 8}}
        chain = build_chain([draft], source="test")
        for seed in range(seeds):
            seeded = chain.model_copy(update={"seed": seed})
            runs.append(StudyRun(variant=f"v{place}", arm="", seed=seed, chain=seeded))
    return build_tree(runs, lambda chain: Facts(dataset="d", encoder="e", device="cpu"))


def walked(
    kind: type[Walk] | type[PlainWalk], tree: StageTree, weather: Weather, cost: Mapping[str, float]
) -> tuple[Walked, str]:
    """How the walk stands at its end, and what ended it."""
    walk = kind(
        tree,
        weather,
        weather,
        stored=set(weather.keys),
        cost=cost,
        listen=weather.events.append,
        clock=lambda: weather.now,
    )
    try:
        return walk.run(), ""
    except (StorageError, TimeoutError) as error:
        return walk.result, f"{type(error).__name__} {error}"


@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.02, 0.1, 0.4]),
    st.integers(0, 10**6),
    st.booleans(),
)
@example([[1, 3], [1, 1, 2, 3], [1, 2, 2, 3]], 3, 1, 0.4, 43950, True)  # found stored at a look, and has students
def test_the_same_stages_in_the_same_order(
    layers: list[list[int]], seeds: int, slots: int, trouble: float, seed: int, controls: bool
) -> None:
    tree, draw = tree_of(layers, seeds=seeds, controls=controls), Random(seed)
    cost = {key: float(draw.randint(1, 3)) for key in tree.stages}
    stored = {key for key in tree.stages if draw.random() < trouble}
    mine, plain = (Weather(seed, trouble=trouble, slots=slots, stored=stored) for _ in range(2))
    found, expected = walked(Walk, tree, mine, cost), walked(PlainWalk, tree, plain, cost)
    assert mine.asked == plain.asked
    assert mine.events == plain.events
    assert found == expected


def test_a_stage_that_is_offered_twice_is_looked_at_once() -> None:
    """Its teacher was found broken, and is stored again, while it waits for a slot."""
    tree = tree_of([[3, 2], [3, 1]], seeds=1)
    teacher, longer, shorter = tree.stages

    class Scripted(Weather):
        looks: ClassVar[list[float]] = []

        def lease_held(self, key: str) -> bool:
            if key == shorter:
                self.looks.append(self.now)
            return key == shorter and len(self.looks) < 4

        def wait(self, seconds: float) -> list[StageOutcome]:
            self.now += seconds / 4
            if not self._running:
                return []
            key = self._running.pop().key
            self._tries[key] += 1
            broken = key == longer and self._tries[key] == 1
            self.keys |= set() if broken else {key}
            return [StageOutcome(key=key, ending=Ending.BROKEN_TEACHER if broken else Ending.DONE)]

    weather = Scripted(0, trouble=0.0, slots=1, stored={teacher})
    found, _ = walked(Walk, tree, weather, {teacher: 1.0, longer: 2.0, shorter: 1.0})
    assert found.done == set(tree.stages)
    assert [key for asked, key in weather.asked if "start" in asked] == [longer, teacher, longer, shorter]
    assert len(weather.looks) == 4 and min(b - a for a, b in pairwise(weather.looks)) >= LOOK_EVERY_S


@pytest.mark.whole
def test_ten_times_the_stages_take_about_ten_times_the_lines() -> None:
    """Executed lines are counted, not seconds: what else the machine does must not matter."""
    executed = []
    for variants in (100, 1000):
        tree = tree_of([[3, 2, 1]], seeds=variants)
        weather = Steady()
        walk = Walk(tree, weather, weather, stored=set(), cost=dict.fromkeys(tree.stages, 1.0))
        with counted_lines() as lines:
            found = walk.run()
        executed.append(lines["line"])
        assert found.trained == set(tree.stages)
    assert executed[0] > 10 * 300  # something was counted
    assert executed[1] < 12 * executed[0]


@contextmanager
def counted_lines() -> Iterator[Counter[str]]:
    """Lines that Python executes in this thread, each turn of a loop or comprehension counted."""
    seen: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        seen[event] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)


class Steady:
    """A hundred slots; in each turn the stage that began first is done."""

    def __init__(self) -> None:
        self._running: dict[str, None] = {}
        self._keys: set[str] = set()

    def has(self, key: str) -> bool:
        return key in self._keys

    def lease_held(self, key: str) -> bool:
        return False

    def set_aside(self, key: str, reason: str) -> str:
        return ""

    def slots(self) -> int:
        return 100

    def submit(self, job: StageJob) -> None:
        self._running[job.key] = None

    def wait(self, seconds: float) -> list[StageOutcome]:
        key = next(iter(self._running))
        del self._running[key]
        self._keys.add(key)
        return [StageOutcome(key=key, ending=Ending.DONE)]

    def cancel(self) -> None:
        self._running.clear()
