"""A whole search on Ray: what a plain loop finds, each stage once, lost processes replaced, and ends that say why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from reference import killing
from reference.inline_search import without_ray
from reference.toy_searches import options_in, prepared, told, write_search

from pmd_ray.plan.search_draws import drawn_rounds
from pmd_ray.plan.search_studies import tree_of_trials
from pmd_ray.report.search_sharing import sharing
from pmd_ray.run.search import schedulers, tuned
from pmd_ray.run.search.events import SearchEvent, TrialAsked
from pmd_ray.run.search.machinery import Machinery
from pmd_ray.run.search.rebuilt import replayed
from pmd_ray.run.search.recorded import RecordedSearch
from pmd_ray.run.search.reports import TrialReport
from pmd_ray.run.search.rounds import whole_rounds
from pmd_ray.run.search.schedulers import Reasons
from pmd_ray.run.search.search import PreparedSearch, Searched, run_search
from pmd_ray.run.study_events import StageBegun, StageStored, StudyEvent
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.attempt import AttemptState
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import GradeResult
from pmd_ray.spec.search_folder import read_search
from pmd_ray.spec.search_reading import read_stored
from pmd_ray.spec.search_record import SAMPLED, SearchRecord, TrialState
from pmd_ray.store.store import Store

PAIR = WorkerPlan(2, 2, cpus=1)
ONE_STUDENT = ("layers=[2, 1]", "mask_rates=[0.2]", "search={strategy: random}")
TWO_RATES = "space={settings: {students.optimiser.lr: [1.0e-3, 2.0e-3]}}"


def on_ray(test: Callable[..., None]) -> Callable[..., None]:
    marked: Callable[..., None] = pytest.mark.ray(pytest.mark.usefixtures("ray_running")(test))
    return marked


def ready(folder: Path, *overrides: str, at_once: int = 1, epochs: int = 2, store: str = "store") -> PreparedSearch:
    folder.mkdir(exist_ok=True)
    file = write_search(folder, epochs=epochs)
    return prepared(file, Store.open(folder / store), options_in(folder), *overrides, at_once=at_once)


def states(record: SearchRecord) -> list[TrialState]:
    return [trial.state for trial in record.trials]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """The tiny search in a plain loop, without Ray."""
    folder = tmp_path_factory.mktemp("plain")
    with without_ray():
        return run_search(ready(folder), folder / "run", options_in(folder))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_running: None) -> tuple[Path, Searched]:
    """A folder in which the tiny search was run under Tune, undisturbed."""
    folder = tmp_path_factory.mktemp("search")
    return folder, run_search(ready(folder), folder / "run", options_in(folder))


@on_ray
def test_tune_finds_what_a_plain_loop_finds(finished: tuple[Path, Searched], plain: Searched) -> None:
    _, searched = finished
    assert len(searched.record.trials) == 8
    assert set(states(searched.record)) == {TrialState.DONE, TrialState.PRUNED}
    assert told(searched.record) == told(plain.record)
    assert searched.record.stopped == plain.record.stopped


@on_ray
def test_record_store_and_counts_agree(finished: tuple[Path, Searched]) -> None:
    folder, searched = finished
    store, record = Store.open(folder / "store"), searched.record
    assert read_search(folder / "run") == record == read_stored(store.study(record.id), record.id, where="here")
    for trial in record.trials:
        if trial.state is TrialState.DONE:
            result = GradeResult.model_validate_json(store.open_file(trial.stages[-1].key, "result.json"))
            assert result.valid is not None
            assert (trial.value, trial.parameters) == (result.valid.all.mrr, result.parameters)
    attempts, found = store.attempts(), sharing(record, store)
    done = {attempt.key for attempt in attempts if attempt.state is AttemptState.DONE}
    assert found.complaints == ()
    assert found.begun_in_store == len({attempt.key for attempt in attempts})
    assert found.trained_in_store == found.ours_in_store == len(done) == searched.trained
    assert found.finished <= len(done) < found.asked
    assert {attempt.state for attempt in attempts} <= {AttemptState.DONE, AttemptState.PRUNED}
    assert {attempt.study for attempt in attempts} == {record.id}


@on_ray
def test_run_again_it_trains_nothing_and_needs_no_ray(
    finished: tuple[Path, Searched], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, searched = finished
    before = Store.open(folder / "store").attempts()
    monkeypatch.delattr(Machinery, "_start")
    again = run_search(ready(folder), folder / "run", options_in(folder))
    assert again.trained == 0 and told(again.record) == told(searched.record)
    assert Store.open(folder / "store").attempts() == before


@on_ray
def test_a_larger_budget_goes_on(finished: tuple[Path, Searched]) -> None:
    folder, searched = finished
    more = run_search(ready(folder, "budget.trials=10"), folder / "run", options_in(folder))
    assert len(more.record.trials) == 10
    assert told(more.record)[:8] == told(searched.record)


@pytest.mark.slow
@on_ray
def test_a_trial_whose_process_is_killed_goes_on(tmp_path: Path, plain: Searched) -> None:
    killed: list[int] = []

    def kill(event: StudyEvent) -> None:
        """The trial's process, when the second trial's first own stage begins and when its last one does."""
        if isinstance(event, StageBegun) and event.key in second and len(killed) < 2:
            trials = killing.ours(killing.TRIAL)
            assert trials, "no trial runs"
            killed.append(trials[0])
            assert killing.kill(trials[0])

    second = {use.key for use in plain.record.trials[1].stages}
    searched = run_search(
        ready(tmp_path, "budget.trials=3"), tmp_path / "run", options_in(tmp_path), listen_stages=kill
    )
    assert len(killed) == 2
    for ours, theirs in zip(told(searched.record), told(plain.record), strict=False):
        assert ours == theirs
    assert all(len(Store.open(tmp_path / "store").attempts(key)) == 1 for key in second)


@on_ray
def test_a_beam_trains_what_its_plan_says(tmp_path: Path) -> None:
    weights = "space={weights: {alpha: [0.1, 0.3], beta: [0.1]}, masks: {first: [0.2], last_zero: [false]}}"
    given = ready(tmp_path, "search={strategy: grade, sampler: grid, beam: 1}", "budget={hours: 1}", weights)
    searched = run_search(given, tmp_path / "run", options_in(tmp_path))
    tree = tree_of_trials(given.record.search, drawn_rounds(given.record.search), given.identities)
    trials = searched.record.trials
    assert [trial.round for trial in trials] == ["grade-1"] * 2 + [f"grade-2-under-{trials[2].parent}"] * 2
    assert set(states(searched.record)) == {TrialState.DONE}
    assert (searched.trained, sum(len(trial.stages) for trial in trials)) == (tree.distinct, tree.naive) == (5, 10)


@pytest.mark.slow
@on_ray
def test_more_trials_than_stages_at_once_queue(tmp_path: Path) -> None:
    """Four trials at once on one place; the points follow again from the order of asks and tells."""
    running, most = set[str](), 0

    def count(event: StudyEvent) -> None:
        nonlocal most
        if isinstance(event, StageBegun):
            running.add(event.key)
        elif isinstance(event, StageStored):
            running.discard(event.key)
        most = max(most, len(running))

    given = ready(tmp_path, "search.pruner=none", at_once=4)
    searched = run_search(given, tmp_path / "run", options_in(tmp_path), listen_stages=count)
    record = searched.record
    assert states(record) == [TrialState.DONE] * 8 and most == 1
    assert any(later.asked < earlier.told for earlier, later in overlapping(record)), "several run at once"
    (each,) = whole_rounds(record.search, given.identities.facts_of)
    found = replayed(record.trials, config=record.search.search, seed=record.search.seed, draw=each.draw)
    assert found == {trial.number: trial.params for trial in record.trials if trial.origin == SAMPLED}
    assert len(found) == 7


def overlapping(record: SearchRecord) -> Sequence[tuple[Any, Any]]:
    return [(one, other) for one in record.trials for other in record.trials if one.number < other.number]


@on_ray
def test_a_search_whose_trials_all_fail_ends_and_says_why(tmp_path: Path) -> None:
    """The graph is another one by the time that stages are trained."""
    given = ready(tmp_path, "budget.trials=30")
    valid = tmp_path / "graph" / "valid.tsv"
    valid.write_text("".join(valid.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    searched = run_search(given, tmp_path / "run", options_in(tmp_path))
    record = searched.record
    assert states(record) == [TrialState.FAILED] * 3 and searched.trained == 0
    assert record.stopped is not None and record.stopped.startswith("all of the first 3 trials failed")
    assert all("is not what the study was planned with" in trial.reason for trial in record.trials)
    assert "is not what the study was planned with" in record.stopped


@pytest.mark.slow
@on_ray
@pytest.mark.timeout(300)
def test_nested_workers_do_not_hang(tmp_path: Path) -> None:
    """Two trials at once, each stage with two workers of one core, on two cores."""
    given = ready(tmp_path, *ONE_STUDENT, TWO_RATES, "budget.trials=2", at_once=2)
    options = replace(options_in(tmp_path, slots=None), plan=PAIR)
    searched = run_search(given, tmp_path / "run", options)
    assert states(searched.record) == [TrialState.DONE] * 2 and searched.trained == 3
    assert free_again(5.0)


class StopsStudents(Reasons):
    """Ends every trial at the first epoch of its student, and notes when."""

    stopped: list[float]

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if not result.get("target_epoch"):
            return str(TrialScheduler.CONTINUE)
        self.stopped.append(time.monotonic())
        return str(TrialScheduler.STOP)


@pytest.mark.slow
@on_ray
@pytest.mark.timeout(300)
def test_a_stopped_trial_frees_its_workers_within_five_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Placement groups as Ray itself tells of them, ten times a second."""
    scheduler = StopsStudents()
    scheduler.stopped = []
    monkeypatch.setattr(schedulers, "scheduler_of", lambda *given, **more: scheduler)
    given = ready(tmp_path, *ONE_STUDENT, TWO_RATES, "budget.trials=2", "grades.1.optimiser.epochs=4000")
    held: list[tuple[float, int]] = []
    ended = threading.Event()
    watching = threading.Thread(target=watch, args=(held, ended))
    watching.start()
    try:
        searched = run_search(given, tmp_path / "run", replace(options_in(tmp_path), plan=PAIR))
        assert free_again(5.0)
    finally:
        ended.set()
        watching.join()
    assert states(searched.record) == [TrialState.PRUNED] * 2 and len(scheduler.stopped) == 2
    waits = [next(at - stop for at, groups in held if at > stop and not groups) for stop in scheduler.stopped]
    print("seconds until the cores were free:", [round(wait, 2) for wait in waits])
    assert max(waits) <= 5.0
    student = [use.key for trial in searched.record.trials for use in trial.stages[1:]]
    for key in student:
        (attempt,) = Store.open(tmp_path / "store").attempts(key)
        assert attempt.state is AttemptState.PRUNED and attempt.epochs_started < 4000


def watch(held: list[tuple[float, int]], ended: threading.Event) -> None:
    while not ended.wait(0.1):
        groups = ray.util.placement_group_table().values()
        taken = sum(group["state"] != "REMOVED" for group in groups if group["bundles"][0].get("CPU"))
        held.append((time.monotonic(), taken))


def free_again(seconds: float) -> bool:
    """Whether all cores are free within so long."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]:
            return True
        time.sleep(0.1)
    return False


# Without Ray, and without training


class CountingServer:
    """Counts what trials are assigned."""

    error = stopped = None

    def __init__(self) -> None:
        self.trained: set[str] = set()
        self.asked = 0

    def assign(self, number: int, jobs: Sequence[Any]) -> None:
        self.trained |= {job.key for job in jobs}
        self.asked += len(jobs)

    def release(self, number: int) -> None:
        """Nothing waits."""

    def reason_of(self, number: int) -> None:
        """None failed."""


def all_done(searcher: RecordedSearch, scheduler: Reasons, desk: None, *, name: str, at_once: int) -> None:
    """Every trial ends at once; which is best is as if by chance."""
    while (asked := searcher.suggest(name)) != Searcher.FINISHED:
        number = asked["number"]
        last = TrialReport(
            number=number,
            epoch=1,
            grade="3",
            grade_epoch=1,
            target_epoch=1,
            value=(7 * number % 25) / 25,
            grade_done=True,
            finished=True,
        )
        searcher.on_trial_complete(name, result=last.to_result())


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> CountingServer:
    """The search itself over stages that nobody trains: each trial is as good as its number says."""
    server = CountingServer()
    monkeypatch.setattr(Machinery, "_start", lambda machinery: (server, None))
    monkeypatch.setattr(tuned, "run_trials", all_done)
    return server


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path, untrained: CountingServer) -> None:
    refused: list[str] = []

    def second(event: SearchEvent) -> None:
        if isinstance(event, TrialAsked) and not refused:
            with pytest.raises(UserError) as caught:
                run_search(ready(tmp_path, "budget.trials=1"), tmp_path / "other", options_in(tmp_path))
            refused.append(str(caught.value))

    run_search(ready(tmp_path, "budget.trials=1"), tmp_path / "run", options_in(tmp_path), listen=second)
    assert untrained.asked and len(refused) == 1
    assert refused[0].startswith("another run is at work on the search 'tiny' in ") and "--set name=" in refused[0]


PAPERS = (
    "layers=[12, 12, 9, 6, 3]",
    "mask_rates=[0.2, 0.15, 0.1, 0.05]",
    "encoder={name: scratch, scratch: {layers: 12, width: 16, heads: 2, vocabulary: 200}}",
    "budget={}",
    "enqueue={default: false, paper: false}",
)
FIVE = "alpha: [0.0, 0.1, 0.2, 0.3, 0.4], beta: [0.0, 0.1, 0.2, 0.3, 0.4]"


@pytest.mark.parametrize(
    ("space", "strategy", "trained", "naive"),
    [
        (f"{{weights: {{{FIVE}, from_student: 2}}}}", "{strategy: grid}", 77, 125),
        (f"{{weights: {{{FIVE}}}}}", "{strategy: grade, sampler: grid, beam: 1}", 101, 350),
    ],
)
def test_what_sharing_promises(
    tmp_path: Path, untrained: CountingServer, space: str, strategy: str, trained: int, naive: int
) -> None:
    """Chains of teacher, pre-distilled 12, 9, 6 and 3 layers; alpha and beta in 0, 0.1 ... 0.4."""
    given = ready(tmp_path, *PAPERS, f"space={space}", f"search={strategy}")
    searched = run_search(given, tmp_path / "run", options_in(tmp_path))
    trials = searched.record.trials
    assert set(states(searched.record)) == {TrialState.DONE}
    assert (len(untrained.trained), untrained.asked) == (trained, naive)
    assert sum(len(trial.stages) for trial in trials) == naive
    assert len({use.key for trial in trials for use in trial.stages}) == searched.trained == trained
