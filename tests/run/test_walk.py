"""Walking a tree: teachers first, each stage once, the longest chain first, and what follows from each failure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.run.study_events import ArtifactSetAside, StageElsewhere, StageTroubled, StudyEvent
from pmd_ray.run.walk import LOST_AT_MOST, SAME_BUG_AT_MOST, Ending, StageJob, StageOutcome, Walk, Walked
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.chain_stages import Facts
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import StorageError
from pmd_ray.spec.study import StudyRun

Answer = Callable[[StageJob, int], StageOutcome]
"""What a worker says to a job, and to its how-manieth try."""


def done(job: StageJob, tries: int) -> StageOutcome:
    return StageOutcome(key=job.key, ending=Ending.DONE)


class FakeStore:
    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.held: dict[str, int] = {}
        """Key to the looks after which the other run has stored it."""
        self.aside: list[str] = []

    def has(self, key: str) -> bool:
        return key in self.keys

    def lease_held(self, key: str) -> bool:
        if key not in self.held:
            return False
        self.held[key] -= 1
        if self.held[key] < 0:
            self.keys.add(key)
            del self.held[key]
            return False
        return True

    def set_aside(self, key: str, reason: str) -> str:
        self.aside.append(key)
        self.keys.discard(key)
        return f"aside/{key}"


class FakePool:
    def __init__(self, store: FakeStore, answer: Answer, slots: int) -> None:
        self._store, self._answer, self._slots = store, answer, slots
        self.jobs: list[StageJob] = []
        self.most = 0
        self.cancelled = 0
        self._running: list[StageJob] = []
        self._tries: dict[str, int] = defaultdict(int)
        self.now = 0.0

    def slots(self) -> int:
        return self._slots

    def submit(self, job: StageJob) -> None:
        self.jobs.append(job)
        self._running.append(job)
        self.most = max(self.most, len(self._running))
        if job.teacher_key is not None:
            assert job.teacher_key in self._store.keys, "started before its teacher was stored"

    def wait(self, seconds: float) -> list[StageOutcome]:
        self.now += seconds
        if not self._running:
            return []
        job = self._running.pop(0)
        self._tries[job.key] += 1
        outcome = self._answer(job, self._tries[job.key])
        if outcome.ending is Ending.DONE:
            self._store.keys.add(job.key)
        return [outcome]

    def cancel(self) -> None:
        self.cancelled += 1
        self._running.clear()


def tree_of(*layers: list[int], seeds: int = 1, differ: bool = True) -> StageTree:
    """A variant for each list of layers; `differ`: with learning rates of their own, so that nothing is shared."""
    runs = []
    for place, listed in enumerate(layers):
        lr = 1e-5 * (1 + place) if differ else 1e-5
        chain = build_chain([{"layers": listed, "optimiser": {"lr": lr, "batch": 8}}], source="test")
        for seed in range(seeds):
            seeded = chain.model_copy(update={"seed": seed})
            runs.append(StudyRun(variant=f"v{place}", arm="", seed=seed, chain=seeded))
    return build_tree(runs, lambda chain: Facts(dataset="d", encoder="e", device="cpu"))


def walk(
    tree: StageTree, answer: Answer = done, *, slots: int = 2, store: FakeStore | None = None, **cost: float
) -> tuple[Walked, FakePool, list[StudyEvent]]:
    store = store or FakeStore()
    pool = FakePool(store, answer, slots)
    events: list[StudyEvent] = []
    costs = {key: cost.get(stage.grade.name, float(stage.grade.layers)) for key, stage in tree.stages.items()}
    found = Walk(
        tree, store, pool, stored=set(store.keys), cost=costs, listen=events.append, clock=lambda: pool.now
    ).run()
    return found, pool, events


@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(1, 5),
    st.booleans(),
)
def test_every_stage_is_trained_once_after_its_teacher(
    layers: list[list[int]], seeds: int, slots: int, differ: bool
) -> None:
    tree = tree_of(*(sorted(listed, reverse=True) for listed in layers), seeds=seeds, differ=differ)
    found, pool, _ = walk(tree, slots=slots)
    assert found.done == found.trained == set(tree.stages)
    assert sorted(job.key for job in pool.jobs) == sorted(tree.stages)
    assert pool.most <= slots
    assert not found.failed and not found.skipped and found.stopped is None


def test_stored_stages_are_not_trained() -> None:
    tree, store = tree_of([3, 2, 1]), FakeStore()
    store.keys = set(list(tree.stages)[:2])
    found, pool, _ = walk(tree, store=store)
    assert [job.key for job in pool.jobs] == list(tree.stages)[2:]
    assert found.done == set(tree.stages) and len(found.trained) == 1


def test_the_longest_remaining_chain_starts_first() -> None:
    tree = tree_of([3], [3, 2], [3, 2, 1])
    _, pool, _ = walk(tree, slots=1)
    first = [tree.stages[job.key].uses[0].variant for job in pool.jobs if job.teacher_key is None]
    assert first == ["v2", "v1", "v0"]


def failing(kind: FailureKind, when: Callable[[StageJob, int], bool], **more: Any) -> Answer:
    def answer(job: StageJob, tries: int) -> StageOutcome:
        if when(job, tries):
            return StageOutcome(key=job.key, ending=Ending.FAILED, kind=kind, message="why", signature="s", **more)
        return done(job, tries)

    return answer


def test_a_lost_worker_is_replaced() -> None:
    found, pool, events = walk(
        tree_of([2, 1]), failing(FailureKind.NODE_LOST, lambda job, tries: tries <= LOST_AT_MOST)
    )
    assert len(pool.jobs) == 2 * (LOST_AT_MOST + 1) and not found.failed
    assert sum(isinstance(event, StageTroubled) for event in events) == 2 * LOST_AT_MOST


def test_a_worker_lost_again_and_again_ends_its_branch() -> None:
    tree = tree_of([2, 1], [3])
    root = next(stage for stage in tree.roots() if stage.children)
    found, pool, _ = walk(tree, failing(FailureKind.NODE_LOST, lambda job, tries: job.key == root.key))
    assert list(found.failed) == [root.key] and found.skipped == set(root.children)
    assert sum(job.key == root.key for job in pool.jobs) == LOST_AT_MOST + 1


def test_progress_forgives_lost_workers() -> None:
    answer = failing(FailureKind.NODE_LOST, lambda job, tries: tries <= 3 * LOST_AT_MOST, progressed=True)
    found, _, _ = walk(tree_of([1]), answer)
    assert not found.failed


def test_out_of_memory_halves_the_micro_batch_and_nothing_else() -> None:
    tree = tree_of([1])
    (key,) = tree.stages
    found, pool, _ = walk(tree, failing(FailureKind.OUT_OF_MEMORY, lambda job, tries: tries <= 2))
    assert [job.grade.optimiser.micro_batch for job in pool.jobs] == [None, 4, 2]
    assert {job.key for job in pool.jobs} == {key} and found.trained == {key}
    same = {job.grade.model_dump_json(exclude={"optimiser": {"micro_batch"}}) for job in pool.jobs}
    assert len(same) == 1


def test_out_of_memory_with_one_text_ends_the_branch() -> None:
    found, pool, _ = walk(tree_of([1]), failing(FailureKind.OUT_OF_MEMORY, lambda job, tries: True))
    assert [job.grade.optimiser.micro_batch for job in pool.jobs] == [None, 4, 2, 1]
    assert len(found.failed) == 1


@pytest.mark.parametrize("kind", [FailureKind.NOT_FINITE, FailureKind.BUG])
def test_a_bug_ends_its_branch_and_the_others_go_on(kind: FailureKind) -> None:
    tree = tree_of([3, 2, 1], [3, 2, 1])
    middle = next(stage.key for stage in tree.stages.values() if stage.grade.layers == 2)
    found, pool, events = walk(tree, failing(kind, lambda job, tries: job.key == middle))
    assert list(found.failed) == [middle] and found.skipped == set(tree.below(middle)) and len(found.skipped) == 1
    assert len(found.done) == 4 and sum(job.key == middle for job in pool.jobs) == 1
    assert [event.kind for event in events if isinstance(event, StageTroubled)] == [kind]


def test_the_same_bug_three_times_stops_the_study() -> None:
    tree = tree_of(*[[1]] * 6)
    found, pool, _ = walk(tree, failing(FailureKind.BUG, lambda job, tries: True), slots=1)
    assert found.stopped is not None and len(found.failed) == SAME_BUG_AT_MOST == len(pool.jobs)
    assert found.skipped == set(tree.stages) - set(found.failed)


def test_three_different_bugs_do_not() -> None:
    tree = tree_of(*[[1]] * 4)

    def answer(job: StageJob, tries: int) -> StageOutcome:
        return StageOutcome(key=job.key, ending=Ending.FAILED, kind=FailureKind.BUG, signature=job.key)

    found, _, _ = walk(tree, answer)
    assert found.stopped is None and len(found.failed) == 4


def test_three_times_not_finite_does_not() -> None:
    found, _, _ = walk(tree_of(*[[1]] * 4), failing(FailureKind.NOT_FINITE, lambda job, tries: True))
    assert found.stopped is None and len(found.failed) == 4


def test_a_full_disk_ends_the_walk_and_stops_the_workers() -> None:
    tree, store = tree_of([2, 1], [2, 1]), FakeStore()
    pool = FakePool(store, failing(FailureKind.DISK, lambda job, tries: True), 2)
    with pytest.raises(StorageError, match="why"):
        Walk(tree, store, pool, stored=set(), cost=dict.fromkeys(tree.stages, 1.0)).run()
    assert pool.cancelled


def test_a_stage_that_another_run_trains_is_waited_for() -> None:
    tree, store = tree_of([2, 1]), FakeStore()
    root, leaf = tree.stages
    store.held[root] = 3
    found, pool, events = walk(tree, store=store)
    assert [job.key for job in pool.jobs] == [leaf]
    assert found.done == {root, leaf} and found.trained == {leaf}
    assert [event.key for event in events if isinstance(event, StageElsewhere)] == [root]


def test_a_lease_that_falls_free_without_a_result_is_taken_over() -> None:
    tree, store = tree_of([1]), FakeStore()
    (key,) = tree.stages
    looks = iter([True, True, False])
    store.lease_held = lambda key: next(looks, False)  # type: ignore[method-assign]
    found, pool, _ = walk(tree, store=store)
    assert [job.key for job in pool.jobs] == [key] and found.trained == {key}


def test_a_lease_lost_between_look_and_start_is_waited_for() -> None:
    tree = tree_of([1])

    def answer(job: StageJob, tries: int) -> StageOutcome:
        return StageOutcome(key=job.key, ending=Ending.BUSY) if tries == 1 else done(job, tries)

    found, pool, events = walk(tree, answer)
    assert len(pool.jobs) == 2 and not found.failed
    assert sum(isinstance(event, StageElsewhere) for event in events) == 1


def test_a_broken_teacher_is_set_aside_and_trained_again() -> None:
    tree, store = tree_of([2, 1]), FakeStore()
    root, leaf = tree.stages
    store.keys = {root}

    def answer(job: StageJob, tries: int) -> StageOutcome:
        if job.key == leaf and tries == 1:
            return StageOutcome(key=leaf, ending=Ending.BROKEN_TEACHER, message="model.safetensors: hash")
        return done(job, tries)

    found, pool, events = walk(tree, answer, store=store)
    assert [job.key for job in pool.jobs] == [leaf, root, leaf] and store.aside == [root]
    assert found.done == {root, leaf} == found.trained
    assert [event.key for event in events if isinstance(event, ArtifactSetAside)] == [root]


def test_a_teacher_broken_again_and_again_is_the_storages_fault() -> None:
    tree = tree_of([3, 2])
    _, student = tree.stages

    def answer(job: StageJob, tries: int) -> StageOutcome:
        if job.key == student:
            return StageOutcome(key=student, ending=Ending.BROKEN_TEACHER, message="model.safetensors is cut short")
        return done(job, tries)

    with pytest.raises(StorageError, match="does not keep what is written"):
        walk(tree, answer)


def test_a_stage_that_a_worker_stored_elsewhere_is_no_result() -> None:
    """A folder of one node that others cannot see: the first stage says so, not the report."""

    class Blind(FakeStore):
        def has(self, key: str) -> bool:
            return False

    with pytest.raises(StorageError, match="one place for all nodes"):
        walk(tree_of([2]), store=Blind())


def test_an_interrupt_stops_the_workers() -> None:
    tree, store = tree_of([1]), FakeStore()

    def answer(job: StageJob, tries: int) -> StageOutcome:
        raise KeyboardInterrupt

    pool = FakePool(store, answer, 1)
    with pytest.raises(KeyboardInterrupt):
        Walk(tree, store, pool, stored=set(), cost=dict.fromkeys(tree.stages, 1.0)).run()
    assert pool.cancelled == 1
