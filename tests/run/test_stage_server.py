"""Serving stages to trials: each trained once, for as long as anyone waits, and everyone hears everything in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.run.failures import LOST_AT_MOST, SAME_BUG_AT_MOST
from pmd_ray.run.search.desk import Desk
from pmd_ray.run.search.reports import TrialFailed, TrialReport
from pmd_ray.run.search.results import Epoch, LastGrade, StoredGrade
from pmd_ray.run.search.server import StageServer
from pmd_ray.run.stage_job import Ending, StageJob, StageOutcome
from pmd_ray.run.study_events import StageElsewhere, StageEvent, StageStored, StageTroubled, StudyEvent
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.chain_stages import Facts, stages_of_chain
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import StorageError
from pmd_ray.spec.results import Metrics
from pmd_ray.store.artifacts import ArtifactBroken
from pmd_ray.train.events import EpochDone, GradeStarted

EPOCHS = 2


def jobs_of(*layers: int, lr: float = 1e-4) -> tuple[StageJob, ...]:
    """The stages of a chain; chains share the stages of equal beginnings."""
    drafts = [{"layers": list(layers), "optimiser": {"lr": lr, "batch": 8, "epochs": EPOCHS}}]
    chain = build_chain(drafts, source="test")
    facts = Facts(dataset="d", encoder="e", device="cpu")
    return tuple(StageJob.of(stage, chain) for stage in stages_of_chain(chain, facts))


LONG, SHORT, OTHER, ALONE = jobs_of(4, 3, 1), jobs_of(4, 3), jobs_of(4, 2, 1), jobs_of(4, 1, lr=1e-3)
CHAINS = (LONG, SHORT, OTHER, ALONE)


def value_of(number: int) -> float:
    return number / 100


def metrics(mrr: float) -> Metrics:
    return Metrics(queries=8, mrr=mrr, hits1=0.1, hits3=0.2, hits10=0.3, mr=9.0)


class FakeStore:
    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.held: set[str] = set()
        self.aside: list[str] = []
        self.pruned: list[str] = []

    def call_pruned(self, key: str) -> None:
        self.pruned.append(key)

    def has(self, key: str) -> bool:
        return key in self.keys

    def lease_held(self, key: str) -> bool:
        return key in self.held

    def set_aside(self, key: str, reason: str) -> str:
        self.aside.append(key)
        self.keys.discard(key)
        return ""


class FakeResults:
    """Every stage has the same two epochs."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.broken: set[str] = set()
        self.checkpoints: dict[str, tuple[Epoch, ...]] = {}
        self.older: set[str] = set()
        """Stages stored by a version that kept no epochs."""

    def grade(self, key: str) -> StoredGrade:
        assert key in self._store.keys, "read before it was stored"
        if key in self.broken:
            self.broken.discard(key)
            raise ArtifactBroken(key, "here", ["result.json: hash"])
        epochs = tuple(Epoch(number=number, value=value_of(number)) for number in range(1, EPOCHS + 1))
        epochs = () if key in self.older else epochs
        return StoredGrade(value=0.5, rr=(), epochs=epochs, parameters=7, seconds=3.0)

    def last(self, key: str) -> LastGrade:
        return LastGrade(standard_error=0.01, latency_ms=1.5)

    def kept(self, key: str) -> Sequence[Epoch]:
        return self.checkpoints.get(key, ())

    def heard(self, number: int, metrics: Metrics | None, rr: tuple[float, ...]) -> Epoch | None:
        return None if metrics is None else Epoch(number=number, value=metrics.mrr, rr=rr)


class House:
    """Desk, server, store and workers in one process, and trials that read the desk when they are told to."""

    def __init__(self, slots: int = 2) -> None:
        self.desk, self.store, self.now = Desk(), FakeStore(), 0.0
        self.results = FakeResults(self.store)
        self.heard: list[StudyEvent] = []
        self.server = StageServer(self.desk, self.store, self.results, listen=self.heard.append, clock=lambda: self.now)
        self.room = slots
        self.running: dict[str, StageJob] = {}
        self.stopping: set[str] = set()
        self.kept: Counter[str] = Counter()
        """Epochs that each stage has done: what its checkpoint holds."""
        self.submitted: list[StageJob] = []
        self.done: Counter[str] = Counter()
        self.outcomes: list[StageOutcome] = []
        self.trials: dict[int, FakeTrial] = {}

    # The pool

    def slots(self) -> int:
        return self.room

    def submit(self, job: StageJob) -> None:
        assert job.key not in self.running, "trained twice at once"
        assert job.teacher_key is None or job.teacher_key in self.store.keys, "started before its teacher was stored"
        self.submitted.append(job)
        self.running[job.key] = job
        assert len(self.running) <= self.room

    def wait(self, seconds: float) -> list[StageOutcome]:
        self.now += seconds
        outcomes, self.outcomes = self.outcomes, []
        for outcome in outcomes:
            self.running.pop(outcome.key)
            self.stopping.discard(outcome.key)
        return outcomes

    def cancel(self) -> None:
        self.running.clear()

    def cancel_one(self, key: str) -> None:
        assert key in self.running and key not in self.stopping
        waiting = [n for n, trial in self.trials.items() if trial.waits_for(key) and self.server.reason_of(n) is None]
        assert not waiting, "stopped while someone waits"
        self.stopping.add(key)

    # What happens to workers

    def end(self, key: str, ending: Ending = Ending.DONE, kind: FailureKind | None = None, **more: str) -> None:
        if any(outcome.key == key for outcome in self.outcomes):
            return  # it has answered already
        if ending is Ending.DONE:
            self.store.keys.add(key)
            self.done[key] += 1
        self.outcomes.append(StageOutcome(key=key, ending=ending, kind=kind, **more))

    def epoch(self, key: str) -> None:
        """The next epoch of a running stage, its end after the last."""
        if any(outcome.key == key for outcome in self.outcomes):
            return
        if key in self.stopping:
            self.end(key, Ending.FAILED, FailureKind.NODE_LOST)
            return
        self.kept[key] += 1
        number = self.kept[key]
        event = EpochDone(
            "g", epoch=number, epochs=EPOCHS, valid_mrr=0.0, best=True, metrics=metrics(value_of(number)), rr=(0.5,)
        )
        self.server.hear(StageEvent(key, event))
        if number >= EPOCHS:
            self.end(key)

    # Trials

    def start(self, number: int, jobs: tuple[StageJob, ...]) -> FakeTrial:
        self.server.assign(number, jobs)
        self.trials[number] = trial = FakeTrial(self.desk, number, jobs)
        trial.poll()
        return trial

    def release(self, number: int) -> None:
        self.trials[number].released = True
        self.server.release(number)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.server.turn(self)
            for trial in self.trials.values():
                trial.poll()

    def work(self, turns: int = 60) -> None:
        """Let everything run until nothing is left to do."""
        for _ in range(turns):
            for key in list(self.running):
                self.epoch(key)
            self.turn()

    def count(self, key: str) -> int:
        return sum(job.key == key for job in self.submitted)


class FakeTrial:
    """Does what `DeskSource` does, a step at a time."""

    def __init__(self, desk: Desk, number: int, jobs: tuple[StageJob, ...]) -> None:
        self._desk, self.number, self.jobs = desk, number, jobs
        self.place = 0
        self.reports: list[TrialReport] = []
        self.failure: TrialFailed | None = None
        self.released = False

    @property
    def ended(self) -> bool:
        return self.released or self.failure is not None or bool(self.reports and self.reports[-1].finished)

    def poll(self) -> None:
        if self.ended:
            return
        for item in self._desk.ask(self.number, place=self.place, heard=len(self.reports)):
            if isinstance(item, TrialFailed):
                self.failure = item
                return
            self.reports.append(item)
            self.place += item.grade_done

    def waits_for(self, key: str) -> bool:
        return not self.ended and self.jobs[self.place].key == key

    def told(self) -> list[tuple[str, int, bool]]:
        return [(report.grade, report.grade_epoch, report.grade_done) for report in self.reports]


def everything(jobs: tuple[StageJob, ...]) -> list[tuple[str, int, bool]]:
    """What a trial hears of a chain."""
    found = []
    for name in (job.grade.name for job in jobs):
        found += [*((name, epoch, False) for epoch in range(1, EPOCHS + 1)), (name, EPOCHS, True)]
    return found


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "poll", "release", "turn", "turn", "epoch", "epoch", "lose"]),
        st.integers(0, 3),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.integers(1, 3))
def test_in_any_order_each_stage_is_trained_once_and_everyone_hears_all(
    actions: list[tuple[str, int]], slots: int
) -> None:
    house, numbers, losses = House(slots), count(), Counter[str]()
    for action, which in actions:
        live = [number for number, trial in house.trials.items() if not trial.ended]
        running = sorted(house.running)
        match action:
            case "start":
                house.start(next(numbers), CHAINS[which])
            case "poll" if live:
                house.trials[live[which % len(live)]].poll()
            case "release" if live:
                house.release(live[which % len(live)])
            case "turn":
                house.server.turn(house)
            case "epoch" if running:
                house.epoch(running[which % len(running)])
            case "lose" if running:
                key = running[which % len(running)]
                losses[key] += 1
                if losses[key] <= LOST_AT_MOST:
                    house.end(key, Ending.FAILED, FailureKind.NODE_LOST)
    house.work()
    for trial in house.trials.values():
        expected = everything(trial.jobs)
        assert trial.failure is None
        assert trial.told() == (expected[: len(trial.reports)] if trial.released else expected)
        assert [report.epoch for report in trial.reports] == sorted(report.epoch for report in trial.reports)
    assert set(house.done.values()) <= {1}, "trained twice"
    assert house.server.trained == set(house.done)
    assert not house.running, "something is trained for nobody"


def test_two_trials_share_what_is_equal() -> None:
    house = House()
    house.start(0, LONG)
    house.start(1, OTHER)
    house.work()
    assert len(house.submitted) == 5 and house.server.trained == {job.key for job in (*LONG, *OTHER)}
    last = house.trials[1].reports[-1]
    assert last.finished and last.seconds == 9.0 and last.parameters == 7 and last.latency_ms == 1.5
    assert last.standard_error == 0.01 and last.epoch == 3 * EPOCHS and last.target_epoch == EPOCHS
    assert all(report.target_epoch == 0 for report in house.trials[1].reports if report.grade != last.grade)


def test_an_epoch_is_news_before_its_stage_is_done_and_later_trials_hear_the_earlier_ones_first() -> None:
    house = House()
    house.start(0, LONG)
    house.turn()
    house.epoch(LONG[0].key)
    house.turn(2)
    assert house.trials[0].told() == everything(LONG)[:1]
    house.start(1, SHORT)
    house.turn(2)
    assert house.trials[1].told() == everything(SHORT)[:1] and house.trials[1].reports[0].rr == (0.5,)


def test_epochs_of_a_checkpoint_are_told_when_a_stage_goes_on() -> None:
    house = House()
    house.results.checkpoints[LONG[0].key] = (Epoch(number=1, value=value_of(1)),)
    house.kept[LONG[0].key] = 1
    house.start(0, LONG)
    house.turn()
    started = GradeStarted("g", layers=4, parameters=1, steps=4, done=2, epochs=EPOCHS)
    house.server.hear(StageEvent(LONG[0].key, started))
    house.turn(2)
    assert house.trials[0].told() == everything(LONG)[:1]
    house.work()
    assert house.trials[0].told() == everything(LONG)


def test_stored_stages_are_answered_without_a_worker() -> None:
    house = House(slots=1)
    house.store.keys = {job.key for job in LONG}
    house.results.older = {LONG[1].key}
    trial = house.start(0, LONG)
    house.turn(8)
    assert not house.submitted and not house.server.trained
    epochs = [entry for entry in everything(LONG) if entry[0] != LONG[1].grade.name or entry[2]]
    assert trial.told() == epochs and trial.reports[-1].finished


def test_what_nobody_waits_for_is_stopped_and_goes_on_when_it_is_wanted_again() -> None:
    house = House()
    house.start(0, ALONE)
    house.turn()
    house.epoch(ALONE[0].key)
    house.turn()
    house.release(0)
    house.turn()
    assert house.stopping == {ALONE[0].key}
    house.start(1, ALONE)
    house.turn()
    assert house.count(ALONE[0].key) == 1, "its worker has not answered yet"
    house.work()
    assert house.count(ALONE[0].key) == 2 and house.trials[1].told() == everything(ALONE)
    assert not any(isinstance(event, StageTroubled) for event in house.heard)


def test_whoever_joins_before_the_stop_keeps_a_stage_alive() -> None:
    house = House()
    house.start(0, LONG)
    house.turn()
    house.release(0)
    house.start(1, LONG)
    house.turn()
    assert house.running and not house.stopping


def test_a_released_trial_waits_for_nothing_even_if_it_still_asks() -> None:
    house = House()
    trial = house.start(0, LONG)
    house.release(0)
    house.turn()
    trial.released = False
    house.work(5)
    assert not house.submitted and not trial.reports


def test_stages_with_more_waiters_go_first_then_those_asked_for_earlier() -> None:
    house = House(slots=1)
    house.start(0, ALONE)
    house.turn()
    house.start(1, jobs_of(4, 1, lr=2e-3))
    house.turn()
    house.start(2, LONG)
    house.start(3, SHORT)
    house.work()
    first = [job.key for job in house.submitted if job.teacher_key is None]
    assert first == [ALONE[0].key, LONG[0].key, jobs_of(4, 1, lr=2e-3)[0].key]


def test_a_stage_that_another_run_trains_is_waited_for() -> None:
    house = House()
    house.store.held = {SHORT[0].key}
    trial = house.start(0, SHORT)
    house.turn(8)
    assert not house.submitted
    assert [event.key for event in house.heard if isinstance(event, StageElsewhere)] == [SHORT[0].key]
    house.store.keys, house.store.held = {SHORT[0].key}, set()
    house.work()
    assert [job.key for job in house.submitted] == [SHORT[1].key] and trial.told() == everything(SHORT)
    assert [event.trained for event in house.heard if isinstance(event, StageStored)] == [False, True]


def test_a_lease_lost_between_look_and_start_is_waited_for() -> None:
    house = House()
    trial = house.start(0, SHORT)
    house.turn()
    house.end(SHORT[0].key, Ending.BUSY)
    house.work()
    assert house.count(SHORT[0].key) == 2 and trial.reports[-1].finished


@pytest.mark.parametrize("kind", [FailureKind.BUG, FailureKind.NOT_FINITE])
def test_a_failed_stage_fails_its_waiters_and_whoever_asks_later(kind: FailureKind) -> None:
    house = House()
    trials = [house.start(0, LONG), house.start(1, SHORT)]
    house.start(2, ALONE)
    house.turn()
    house.end(LONG[0].key, Ending.FAILED, kind, message="why")
    house.turn(2)
    trials.append(house.start(3, OTHER))
    house.work()
    for trial in trials:
        assert str(trial.failure) == f"{LONG[0].grade.name}: {kind.value}: why"
        assert house.server.reason_of(trial.number) == str(trial.failure)
        assert house.server.failure_of(trial.number) is kind
    assert house.count(LONG[0].key) == 1 and house.trials[2].reports[-1].finished
    assert house.server.reason_of(2) is None and house.server.stopped is None
    assert house.server.failure_of(2) is None


def test_out_of_memory_halves_the_micro_batch() -> None:
    house = House()
    house.start(0, SHORT)
    house.turn()
    house.end(SHORT[0].key, Ending.FAILED, FailureKind.OUT_OF_MEMORY)
    house.work()
    assert [job.grade.optimiser.micro_batch for job in house.submitted] == [None, 4, None]
    assert house.trials[0].reports[-1].finished


def test_the_same_bug_three_times_stops_the_search() -> None:
    house = House(slots=4)
    trials = [house.start(number, jobs_of(4, 1, lr=1e-5 * (1 + number))) for number in range(5)]
    house.turn()
    for trial in trials[:SAME_BUG_AT_MOST]:
        house.end(trial.jobs[0].key, Ending.FAILED, FailureKind.BUG, message="why", signature="s")
    house.work(10)
    assert house.server.stopped is not None and "why" in house.server.stopped
    assert all(trial.failure for trial in trials) and not house.running
    later = house.start(9, LONG)
    house.work(4)
    assert str(later.failure) == house.server.stopped and len(house.submitted) == 4


def test_a_broken_teacher_is_trained_again_for_its_student() -> None:
    house = House()
    house.store.keys = {SHORT[0].key}
    trial = house.start(0, SHORT)
    house.turn(4)
    assert [job.key for job in house.submitted] == [SHORT[1].key]
    house.end(SHORT[1].key, Ending.BROKEN_TEACHER, message="hash")
    house.work()
    assert [job.key for job in house.submitted] == [SHORT[1].key, SHORT[0].key, SHORT[1].key]
    assert house.store.aside == [SHORT[0].key] and trial.told() == everything(SHORT)


def test_a_teacher_trained_again_is_stopped_when_its_student_is_no_longer_wanted() -> None:
    house = House()
    house.store.keys = {SHORT[0].key}
    house.start(0, SHORT)
    house.turn(4)
    house.end(SHORT[1].key, Ending.BROKEN_TEACHER, message="hash")
    house.turn(2)
    assert set(house.running) == {SHORT[0].key}
    house.release(0)
    house.turn()
    assert house.stopping == {SHORT[0].key}


def test_a_teacher_that_fails_again_fails_those_who_wait_below_it() -> None:
    house = House()
    house.store.keys = {SHORT[0].key}
    trial = house.start(0, SHORT)
    house.turn(4)
    house.end(SHORT[1].key, Ending.BROKEN_TEACHER, message="hash")
    house.turn(2)
    house.end(SHORT[0].key, Ending.FAILED, FailureKind.NOT_FINITE, message="why")
    house.work(5)
    assert str(trial.failure) == f"{SHORT[0].grade.name}: nan: why" and not house.running


def test_a_stored_artifact_that_is_broken_is_trained_again() -> None:
    house = House()
    house.store.keys, house.results.broken = {SHORT[0].key}, {SHORT[0].key}
    trial = house.start(0, SHORT)
    house.work()
    assert house.store.aside == [SHORT[0].key] and trial.told() == everything(SHORT)


def test_one_trained_here_and_broken_at_once_fails() -> None:
    house = House()
    house.results.broken = {SHORT[0].key}
    trial = house.start(0, SHORT)
    house.work(10)
    assert trial.failure is not None and "hash" in str(trial.failure) and house.count(SHORT[0].key) == 1


def test_controls_are_no_part_of_a_trial() -> None:
    house = House()
    control = replace(ALONE[1], key="f" * 64, control_of=ALONE[1].grade.name)
    house.server.assign(0, (*ALONE, control))
    house.trials[0] = FakeTrial(house.desk, 0, ALONE)
    house.trials[0].poll()
    house.work()
    assert house.trials[0].told() == everything(ALONE) and len(house.submitted) == 2


def test_a_trial_that_was_never_assigned_fails() -> None:
    house = House()
    house.trials[5] = FakeTrial(house.desk, 5, LONG)
    house.trials[5].poll()
    house.turn(2)
    assert "never assigned" in str(house.trials[5].failure)


def test_a_full_disk_fails_every_trial_and_is_raised_at_the_end() -> None:
    house = House()
    trial = house.start(0, SHORT)
    house.turn()
    house.end(SHORT[0].key, Ending.FAILED, FailureKind.DISK, message="the disk is full")
    with pytest.raises(StorageError, match="full"), house.server.serving(house):
        for _ in range(100):
            if trial.failure is not None:
                break
            house.server._closing.wait(0.05)
            trial.poll()
    assert str(trial.failure) == "the disk is full" == house.server.stopped


def test_what_still_runs_is_stopped_at_the_end() -> None:
    house = House()
    house.start(0, LONG)
    with house.server.serving(house):
        for _ in range(100):
            if house.running:
                break
            house.server._closing.wait(0.05)
        assert house.running
    assert not house.running
