"""Trials under Ray Tune that share stages: what is shared survives a stopped trial, what is not frees its worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from reference import tiny_study
from run.test_stage_server import FakeResults, FakeStore, FakeTrial, jobs_of, metrics

from pmd_ray.plan.identities import identify
from pmd_ray.run import ray_pool
from pmd_ray.run.ray_pool import RayPool
from pmd_ray.run.search.desk import Desk, DeskSource, RemoteDesk
from pmd_ray.run.search.results import Results, StoredGrade
from pmd_ray.run.search.server import StageServer
from pmd_ray.run.search.trial import NO_CORE, trainable
from pmd_ray.run.stage_call import StudySetting
from pmd_ray.run.stage_job import Ending, StageJob, StageOutcome
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.attempt import AttemptState, FailureKind
from pmd_ray.spec.chain_stages import stages_of_chain
from pmd_ray.spec.errors import WorkerError
from pmd_ray.spec.places import Places
from pmd_ray.spec.results import GradeResult
from pmd_ray.store.store import Store
from pmd_ray.train.events import EpochDone

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_running")]
FREED_S = 5.0
"""Within which a stopped trial's worker must be free."""
FIRST, SECOND = jobs_of(4, 3), jobs_of(4, 2)
LONG_S = 60.0
MANY_EPOCHS = 14
"""So many that a training is not done before it is told to stop, however fast the machine."""


class FolderStore(FakeStore):
    """Stages that workers have marked as stored."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def has(self, key: str) -> bool:
        return (self._folder / key).exists()


class AnyResults(FakeResults):
    """Each stage's result is the same."""

    def grade(self, key: str) -> StoredGrade:
        return StoredGrade(value=0.5, rr=(), epochs=(), parameters=7, seconds=3.0)


@contextmanager
def trivial_pool(
    monkeypatch: pytest.MonkeyPatch, folder: Path, listen: Callable[[Any], None], *, seconds: dict[str, float]
) -> Iterator[RayPool]:
    """Workers that sleep instead of training; a stage of negative seconds takes no notice of being stopped."""
    measured = metrics(0.1)

    def sleep_through(
        job: StageJob, setting: StudySetting, send: Callable[[Any], None], away: dict[str, str]
    ) -> StageOutcome:
        with (folder / f"{job.key}.begun").open("a") as begun:
            begun.write("x")
        left = abs(seconds[job.key])
        for epoch in range(1, 1 + round(left / 0.1)):
            send(EpochDone("g", epoch=epoch, epochs=2, valid_mrr=0.1, best=True, metrics=measured))
            while seconds[job.key] < 0:
                with suppress(KeyboardInterrupt):
                    time.sleep(1)
            time.sleep(0.1)
        (folder / job.key).touch()
        return StageOutcome(key=job.key, ending=Ending.DONE)

    monkeypatch.setattr(ray_pool, "_train", sleep_through)
    setting = StudySetting(
        storage="", study="s", places=Places(), device="cpu", threads=1, plan=WorkerPlan(), command=""
    )
    with RayPool(setting, cpus=1, gpus=0, slots=2, listen=listen) as pool:
        yield pool


def wait_for(what: Callable[[], bool], seconds: float) -> float:
    """Seconds until something is so; infinity where it is not in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if what():
            return time.monotonic() - begun
        time.sleep(0.05)
    return float("inf")


def cores_free() -> float:
    return float(ray.available_resources().get("CPU", 0.0))


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_stopped_stage_frees_its_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stubborn: bool) -> None:
    seconds = {FIRST[0].key: -LONG_S if stubborn else LONG_S}
    assert wait_for(lambda: cores_free() == 2, 20) < 20
    with trivial_pool(monkeypatch, tmp_path, lambda event: None, seconds=seconds) as pool:
        pool.submit(FIRST[0])
        assert wait_for((tmp_path / f"{FIRST[0].key}.begun").exists, 30) < 30
        assert wait_for(lambda: cores_free() == 1, 10) < 10
        pool.cancel_one(FIRST[0].key)
        outcomes: list[StageOutcome] = []
        took = wait_for(lambda: bool(outcomes.extend(pool.wait(0.1)) or outcomes) and cores_free() == 2, 20)
        assert took < FREED_S
        assert [(outcome.ending, outcome.kind) for outcome in outcomes] == [(Ending.FAILED, FailureKind.NODE_LOST)]


class StopsTrials(FIFOScheduler):  # type: ignore[misc]
    """Stops trial 1 in the shared stage, and trial 0 in a stage of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped: dict[int, float] = {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number, place = result["number"], int(result["target_epoch"] > 0)
        if (number == 1 and result["epoch"] >= 2) or (number == 0 and place and result["grade_epoch"] >= 5):
            self.stopped[number] = time.monotonic()
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)


class Releases(tune.Callback):  # type: ignore[misc]
    """Tells the server of trials that have ended."""

    def __init__(self, server: StageServer) -> None:
        self._server = server

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._server.release(trial.config["number"])

    on_trial_error = on_trial_complete


def test_what_is_shared_survives_a_stopped_trial_and_what_is_not_is_freed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared, own = FIRST[0].key, FIRST[1].key
    seconds = {shared: 2.0, own: LONG_S}
    store = FolderStore(tmp_path)
    scheduler = StopsTrials()
    assert wait_for(lambda: cores_free() == 2, 20) < 20
    with RemoteDesk() as desk:
        server = StageServer(desk, store, AnyResults(store))
        for number, jobs in ((0, FIRST), (1, SECOND)):
            server.assign(number, jobs)
        source = DeskSource(desk)
        with (
            trivial_pool(monkeypatch, tmp_path, server.hear, seconds=seconds) as pool,
            server.serving(pool),
        ):
            found = tune.Tuner(
                tune.with_resources(lambda config: trainable(config, source), NO_CORE),
                param_space={"number": tune.grid_search([0, 1])},
                tune_config=tune.TuneConfig(scheduler=scheduler),
                run_config=tune.RunConfig(
                    storage_path=str(tmp_path / "tune"), name="t", callbacks=[Releases(server)], verbose=0
                ),
            ).fit()
            assert wait_for(lambda: cores_free() == 2, 20) < 20
            freed = time.monotonic() - scheduler.stopped[0]
    assert not found.errors and set(scheduler.stopped) == {0, 1} and server.error is None
    assert server.trained == {shared} and not store.has(own)
    assert {key: (tmp_path / f"{key}.begun").read_text() for key in seconds} == dict.fromkeys(seconds, "x")
    assert freed < FREED_S


def test_a_failed_stage_is_the_trials_error_in_tune(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with RemoteDesk() as desk:
        server = StageServer(desk, store, AnyResults(store))
        server.assign(0, FIRST)
        source = DeskSource(desk)
        with trivial_pool(monkeypatch, tmp_path, server.hear, seconds={}) as pool, server.serving(pool):
            found = tune.Tuner(  # a stage of which the workers know no seconds: KeyError, a bug
                tune.with_resources(lambda config: trainable(config, source), NO_CORE),
                param_space={"number": 0},
                run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), name="t", verbose=0),
            ).fit()
    reason = server.reason_of(0)
    assert reason is not None and "bug" in reason
    assert len(found.errors) == 1 and reason in str(found.errors[0])


@pytest.mark.whole
def test_a_stopped_training_goes_on_from_its_last_epoch_for_the_next_trial(tmp_path: Path) -> None:
    study = tiny_study.load_tiny(tmp_path, epochs=MANY_EPOCHS)
    chain = next(iter(study.runs())).chain
    stages = stages_of_chain(chain, identify(study, device="cpu").facts_of(chain))
    jobs = tuple(StageJob.of(stage, chain) for stage in stages)
    store = Store.open(tmp_path / "store")
    desks = [Desk(), Desk()]
    servers = [StageServer(desk, store, Results(store, metric="hits@10", device="cpu")) for desk in desks]
    setting = StudySetting(
        storage=store.location,
        study="tiny",
        places=Places(cache=tmp_path / "cache"),
        device="cpu",
        threads=1,
        plan=WorkerPlan(),
        command="",
    )

    def serve(pool: RayPool, server: StageServer, trial: FakeTrial, until: Callable[[], bool]) -> float:
        def done() -> bool:
            server.turn(pool)
            trial.poll()
            return until()

        trial.poll()
        return wait_for(done, 120)

    first, second = FakeTrial(desks[0], 0, jobs), FakeTrial(desks[1], 1, jobs)
    with RayPool(setting, cpus=1, gpus=0, slots=1, listen=servers[0].hear) as pool:
        servers[0].assign(0, jobs)
        assert serve(pool, servers[0], first, lambda: len(first.reports) >= 2) < 120
        servers[0].release(0)
        assert serve(pool, servers[0], first, lambda: cores_free() == 2) < FREED_S
    # As after a kill: the second server knows nothing of the first trial, and its pool hears nothing late of it.
    with RayPool(setting, cpus=1, gpus=0, slots=1, listen=servers[1].hear) as pool:
        servers[1].assign(1, jobs)
        assert serve(pool, servers[1], second, lambda: second.ended) < 120
    assert second.failure is None and servers[1].trained == {job.key for job in jobs}
    rows = [*((epoch, False) for epoch in range(1, MANY_EPOCHS + 1)), (MANY_EPOCHS, True)]
    expected = [(job.grade.name, epoch, done) for job in jobs for epoch, done in rows]
    assert second.told() == expected and first.reports[:2] == [
        replace(report, number=0) for report in second.reports[:2]
    ]
    before, after = store.attempts(jobs[0].key)
    assert before.state is AttemptState.PRUNED and after.state is AttemptState.DONE and after.first_epoch >= 1
    results = [GradeResult.model_validate_json(store.open_file(job.key, "result.json")) for job in jobs]
    last = second.reports[-1]
    assert results[-1].valid is not None and last.value == results[-1].valid.all.hits10
    assert (
        last.parameters == results[-1].parameters
        and last.rr == second.reports[results[-1].best_epoch - MANY_EPOCHS - 2].rr != ()
    )
    assert last.seconds == pytest.approx(sum(result.cpu_seconds for result in results))
    assert last.latency_ms and last.latency_ms > 0 and last.standard_error is not None and 0 < last.standard_error < 0.5


def test_a_desk_that_is_gone_ends_the_server_and_its_trials() -> None:
    store = FakeStore()
    desk = RemoteDesk()
    server = StageServer(desk, store, FakeResults(store))
    desk.__exit__()
    with pytest.raises(WorkerError, match="desk"):
        list(DeskSource(desk).reports(0))
    with pytest.raises(WorkerError, match="desk"):
        server.turn(None)
