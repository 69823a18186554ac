"""Stages in a Ray Train worker group: the same ranks as one process, lost workers, failures that stay themselves."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from reference import killing
from reference.tiny import write_chain

from pmd_ray.run.stage import run_stage
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.errors import NotFiniteError, SpecError, StorageError
from pmd_ray.spec.places import Places
from pmd_ray.train.chain_stages import stages_of
from pmd_ray.train.events import EpochDone, Event, GradeDone, GradeStarted, StepDone, silent
from pmd_ray.train.stage import Stage
from pmd_ray.train.workshop import device_of, open_workshop

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_running")]
PAIR = WorkerPlan(2, 2, cpus=1)


def stage_of(folder: Path, *overrides: str) -> Stage:
    """The teacher of a tiny chain."""
    chain = load_chain(str(write_chain(folder)), ["layers=[1]", "mask_rates=[]", *overrides])
    shop = open_workshop(chain, Places(cache=folder / "cache"))
    return stages_of(chain, shop, folder / "run", device_of("cpu"))[0]


def places_of(stage: Stage) -> Places:
    return Places(cache=stage.out.parent.parent / "cache")


def test_two_workers_train_what_one_trains(tmp_path: Path) -> None:
    stage = stage_of(tmp_path)
    heard: list[Event] = []
    ours = run_stage(stage, places_of(stage), PAIR, listen=heard.append)
    alone = run_stage(replace(stage, out=tmp_path / "alone" / "teacher"), places_of(stage), WorkerPlan(), listen=silent)
    assert ours.test is not None
    assert alone.test is not None
    assert ours.test.all.mrr == pytest.approx(alone.test.all.mrr, abs=1e-6)
    assert ours.steps == alone.steps
    kinds = [type(event) for event in heard]
    assert kinds[0] is GradeStarted
    assert kinds.count(EpochDone) == 2
    assert StepDone in kinds
    assert kinds[-1] is GradeDone
    assert not (stage.work / "ray").exists()
    again: list[Event] = []
    assert run_stage(stage, places_of(stage), PAIR, listen=again.append) == ours
    assert [event.reused for event in again if isinstance(event, GradeDone)] == [True]


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """SIGKILL after the first checkpoint; the grade goes on from it and ends as without the loss."""
    stage = stage_of(tmp_path, "optimiser.epochs=30")
    killed: list[int] = []

    def kill_one() -> None:
        while not list(stage.work.glob("epoch-*/progress.json")):
            time.sleep(0.02)
        killed.append(killing.ours(killing.TRAIN_WORKER)[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    heard: list[Event] = []
    result = run_stage(stage, places_of(stage), PAIR, listen=heard.append)
    killer.join(timeout=5)
    assert len(killed) == 1
    starts = [event.done for event in heard if isinstance(event, GradeStarted)]
    assert len(starts) == 2
    assert starts[0] == 0 < starts[1] < result.steps
    assert result.epochs == 30


@pytest.mark.slow
def test_a_failure_of_training_is_not_tried_again(tmp_path: Path) -> None:
    """A learning rate that leaves the finite numbers fails in a group as it does in one process."""
    stage = stage_of(tmp_path, "loss.ce.temperature.learnt=false")
    wild = stage.grade.optimiser.model_copy(update={"lr": 1e30, "clip": 1e30, "warmup_steps": 0})
    stage = replace(stage, grade=stage.grade.model_copy(update={"optimiser": wild}))
    heard: list[Event] = []
    with pytest.raises(NotFiniteError) as in_group:
        run_stage(stage, places_of(stage), PAIR, listen=heard.append)
    assert len([event for event in heard if isinstance(event, GradeStarted)]) == 1
    with pytest.raises(NotFiniteError) as alone:
        run_stage(replace(stage, out=tmp_path / "alone" / "teacher"), places_of(stage), WorkerPlan(), listen=silent)
    assert str(in_group.value).split("'teacher'")[1][:40] == str(alone.value).split("'teacher'")[1][:40]


def test_an_elastic_group_starts_and_its_errors_arrive_as_themselves(tmp_path: Path) -> None:
    """The error is found in the workers, so they have started."""
    stage = stage_of(tmp_path, "init.width=12")
    elastic = WorkerPlan(1, 2, cpus=1)
    with pytest.raises(SpecError, match=r"grades\.teacher\.init\.width: must be a multiple of 8") as caught:
        run_stage(stage, places_of(stage), elastic, listen=silent)
    assert len(caught.value.errors) == 1


@pytest.mark.slow
def test_a_failure_of_one_worker_frees_the_others(tmp_path: Path) -> None:
    """Only the first worker writes, so the disk fails it alone: a file stands where its curves should go."""
    stage = stage_of(tmp_path)
    (tmp_path / "file").write_text("")
    begun = time.monotonic()
    with pytest.raises(StorageError, match="could not be written: Not a directory"):
        run_stage(replace(stage, curves=tmp_path / "file" / "curves"), places_of(stage), PAIR, listen=silent)
    assert time.monotonic() - begun < 240  # gloo itself waits for half an hour


def test_a_folder_that_cannot_be_made_fails_before_workers_start(tmp_path: Path) -> None:
    stage = stage_of(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file stands where a folder should"):
        run_stage(replace(stage, out=tmp_path / "file" / "teacher"), places_of(stage), PAIR, listen=silent)
