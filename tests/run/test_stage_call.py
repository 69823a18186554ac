"""One stage in a worker process: from lease to artifact, and what each failure leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import tiny_study

from pmd_ray.plan.tree import PlannedStage, StageTree
from pmd_ray.run import stage as stage_module
from pmd_ray.run.evidence import PROVENANCE
from pmd_ray.run.stage_call import CURVES, StudySetting, failure_kind, train_job
from pmd_ray.run.walk import Ending, StageJob
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.attempt import AttemptState, FailureKind
from pmd_ray.spec.errors import NotFiniteError, StorageError, UserError, WorkerError
from pmd_ray.spec.study_file import load_study
from pmd_ray.store.artifacts import ArtifactBroken
from pmd_ray.store.store import Store
from pmd_ray.train import stage as training
from pmd_ray.train.costs import COSTS
from pmd_ray.train.events import EpochDone, EpochKept, Event, GradeDone, GradeStarted, StepDone, StepKept, silent
from pmd_ray.train.workshop import Places

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> StageTree:
    """The stages of the tiny study."""
    few_steps = {"batch: 16": "batch: 60"}
    file = tiny_study.write_study(tmp_path_factory.mktemp("study"), **few_steps)
    return tiny_study.tree_of(load_study(str(file)))


@pytest.fixture
def setting(tmp_path: Path) -> StudySetting:
    """A store of its own."""
    Store.open(tmp_path / "store")
    return StudySetting(
        storage=str(tmp_path / "store"),
        study="tiny",
        places=Places(),
        device="cpu",
        threads=1,
        plan=WorkerPlan(),
        command="pmd ablate tiny.yaml",
    )


def job_of(stage: PlannedStage) -> StageJob:
    return StageJob.of(stage, stage.chain)


def first(tree: StageTree) -> StageJob:
    return job_of(next(iter(tree.stages.values())))


def second(tree: StageTree) -> StageJob:
    return job_of(list(tree.stages.values())[1])


def test_a_stage_ends_as_an_artifact_with_its_card(tree: StageTree, setting: StudySetting) -> None:
    job, store, heard = first(tree), Store.open(setting.storage), list[Event]()
    outcome = train_job(job, setting, heard.append)
    assert outcome.ending is Ending.DONE and outcome.progressed
    folder = store.fetch(job.key)
    assert {"result.json", "grade.yaml", "model", "test_ranks.parquet", "valid_ranks.parquet"} <= {
        path.name for path in folder.iterdir()
    }
    assert json.loads((folder / "result.json").read_text())["key"] == job.key
    told = json.loads((folder / PROVENANCE).read_text())
    assert told["command"] == "pmd ablate tiny.yaml" and told["threads"] == 1 and told["dataset_fingerprint"]
    costs = json.loads((folder / COSTS).read_text())
    assert costs["latency_ms"].keys() == {"1", "256"} and min(costs["latency_ms"].values()) > 0
    assert costs["peak_memory_bytes"] > 1e7 and costs["device"] == "cpu-fp32"
    assert list((folder / CURVES).glob("events.out.tfevents.*"))
    assert not Path(store.location, "work", job.key).exists() and not store.lease_held(job.key)
    (attempt,) = store.attempts(job.key)
    assert attempt.state is AttemptState.DONE and attempt.study == "tiny"
    assert (attempt.first_epoch, attempt.epochs_started, attempt.epochs_finished) == (0, 2, 2)
    assert attempt.seconds > 0 and attempt.cpu_seconds > 0 and attempt.ended
    assert [type(event) for event in heard if isinstance(event, EpochDone | EpochKept | GradeDone)] == [
        EpochDone,
        EpochKept,
        EpochDone,
        EpochKept,
        GradeDone,
    ]
    assert train_job(job, setting, silent).ending is Ending.STORED
    assert len(store.attempts(job.key)) == 1


def test_a_stage_that_another_process_holds_is_left_to_it(tree: StageTree, setting: StudySetting) -> None:
    job, store = first(tree), Store.open(setting.storage)
    with store.lease(job.key):
        assert train_job(job, setting, silent).ending is Ending.BUSY
    assert store.attempts(job.key) == []


def test_a_student_takes_its_teacher_from_the_store(tree: StageTree, setting: StudySetting) -> None:
    store = Store.open(setting.storage)
    teacher, student = first(tree), second(tree)
    assert student.teacher_key == teacher.key
    assert train_job(teacher, setting, silent).ending is Ending.DONE
    assert train_job(student, setting, silent).ending is Ending.DONE
    assert json.loads(store.open_file(student.key, "result.json"))["teacher"] == student.teacher


@pytest.mark.parametrize("how", ["cut short", "other bytes", "gone"])
def test_a_broken_teacher_is_told(tree: StageTree, setting: StudySetting, how: str) -> None:
    teacher, student = first(tree), second(tree)
    if how != "gone":
        assert train_job(teacher, setting, silent).ending is Ending.DONE
        weights = next(Store.open(setting.storage).fetch(teacher.key).glob("model/*/model.safetensors"))
        content = weights.read_bytes()
        changed = content[: len(content) // 2] if how == "cut short" else content[:-1] + bytes([content[-1] ^ 1])
        weights.write_bytes(changed)
        # The worker that trained it knows its hashes; another one reads them anew.
        setting = replace(setting, storage=f"{Path(setting.storage).parent}/./store")
    outcome = train_job(student, setting, silent)
    assert outcome.ending is Ending.BROKEN_TEACHER and "broken" in outcome.message
    assert Store.open(setting.storage).attempts(student.key) == []


FAILURES: list[tuple[Callable[[], Exception], FailureKind]] = [
    (lambda: NotFiniteError("the loss is nan"), FailureKind.NOT_FINITE),
    (lambda: torch.OutOfMemoryError("CUDA out of memory"), FailureKind.OUT_OF_MEMORY),
    (lambda: MemoryError(), FailureKind.OUT_OF_MEMORY),
    (lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), FailureKind.OUT_OF_MEMORY),
    (lambda: WorkerError("workers failed more often"), FailureKind.NODE_LOST),
    (lambda: OSError(28, "No space left on device"), FailureKind.DISK),
    (lambda: StorageError("no room"), FailureKind.DISK),
    (lambda: TimeoutError("too slow"), FailureKind.TIMEOUT),
    (lambda: ZeroDivisionError("division by zero"), FailureKind.BUG),
]


@pytest.mark.parametrize(("error", "kind"), FAILURES)
def test_a_failure_is_written_with_its_kind_and_frees_the_lease(
    tree: StageTree,
    setting: StudySetting,
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[], Exception],
    kind: FailureKind,
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error()

    monkeypatch.setattr(training._Training, "_epoch", fail)
    job, store = first(tree), Store.open(setting.storage)
    outcome = train_job(job, setting, silent)
    assert (outcome.ending, outcome.kind, outcome.progressed) == (Ending.FAILED, kind, False)
    (attempt,) = store.attempts(job.key)
    assert (attempt.state, attempt.failure) == (AttemptState.FAILED, kind)
    assert attempt.traceback and "_epoch" in attempt.traceback
    assert attempt.epochs_started == 1 and attempt.epochs_finished == 0
    assert not store.lease_held(job.key) and not store.has(job.key)


def test_an_interrupted_attempt_is_lost_and_the_next_goes_on(
    tree: StageTree, setting: StudySetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, store = first(tree), Store.open(setting.storage)

    def interrupt(event: Event) -> None:
        if isinstance(event, EpochKept):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_job(job, setting, interrupt)
    (lost,) = store.attempts(job.key)
    assert (lost.state, lost.epochs_started, lost.epochs_finished) == (AttemptState.LOST, 2, 1)
    assert train_job(job, setting, silent).ending is Ending.DONE
    again = store.attempts(job.key)[-1]
    assert (again.first_epoch, again.epochs_started, again.epochs_finished) == (1, 1, 1)
    whole = replace(setting, storage=str(Path(setting.storage).parent / "other"))
    Store.open(whole.storage)
    train_job(job, whole, silent)
    assert store.open_file(job.key, "test_ranks.parquet") == Store.open(whole.storage).open_file(
        job.key, "test_ranks.parquet"
    )


def test_a_checkpoint_within_an_epoch_counts_as_cost_and_not_as_an_epoch(
    tree: StageTree, setting: StudySetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one behind the last step of an epoch, whose validation is still to come."""
    job, store = first(tree), Store.open(setting.storage)
    steps = [-1, 0]

    def interrupt(event: Event) -> None:
        if isinstance(event, GradeStarted):
            steps[:] = [0, event.steps // event.epochs]
        if isinstance(event, StepDone):
            steps[0] = event.done
        if isinstance(event, StepKept):
            assert event.done == steps[1]
            raise KeyboardInterrupt

    monkeypatch.setattr(stage_module, "leaving", lambda: steps[0] == steps[1])
    with pytest.raises(KeyboardInterrupt):
        train_job(job, setting, interrupt)
    (lost,) = store.attempts(job.key)
    assert (lost.first_epoch, lost.epochs_started, lost.epochs_finished) == (0, 1, 0)
    assert lost.cpu_seconds > 0
    monkeypatch.setattr(stage_module, "leaving", lambda: False)
    outcome = train_job(job, setting, silent)
    assert outcome.ending is Ending.DONE and outcome.progressed
    again = store.attempts(job.key)[-1]
    assert (again.first_epoch, again.epochs_started, again.epochs_finished) == (0, 2, 2)


def test_a_teacher_that_another_node_finds_broken_is_no_bug(
    tree: StageTree, setting: StudySetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process has its own copy, which is whole; a worker of its group has fetched a broken one."""
    job, store = first(tree), Store.open(setting.storage)

    def fail(*args: Any, **options: Any) -> None:
        raise ArtifactBroken("b" * 64, "there", ["weights: cut short"])

    monkeypatch.setattr(training._Training, "_epoch", fail)
    outcome = train_job(job, setting, silent)
    assert outcome.ending is Ending.BROKEN_TEACHER and "cut short" in outcome.message
    assert store.attempts(job.key)[0].state is AttemptState.LOST


def test_a_graph_that_changed_since_the_plan_is_refused(tree: StageTree, setting: StudySetting) -> None:
    job = replace(first(tree), key="0" * 64)
    outcome = train_job(job, setting, silent)
    assert outcome.ending is Ending.FAILED and "is not what the study was planned with" in outcome.message


def test_a_smaller_micro_batch_is_the_same_experiment(tree: StageTree, setting: StudySetting) -> None:
    job = first(tree)
    optimiser = job.grade.optimiser.model_copy(update={"micro_batch": 16})
    smaller = replace(job, grade=job.grade.model_copy(update={"optimiser": optimiser}))
    assert train_job(smaller, setting, silent).ending is Ending.DONE
    assert Store.open(setting.storage).has(job.key)


def test_what_the_user_gave_is_a_bug_of_no_other_kind() -> None:
    assert failure_kind(UserError("no such encoder")) is FailureKind.BUG
