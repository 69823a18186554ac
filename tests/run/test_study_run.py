"""A whole study on Ray: each stage once, nothing twice, lost workers replaced, the same numbers whatever happened."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from reference import tiny_study

from pmd_ray.run.study import Prepared, StudyOptions, prepare, registered_name, run_study
from pmd_ray.run.study_events import ArtifactSetAside, StageStored, StageTroubled, StudyEvent
from pmd_ray.run.walk import Walked
from pmd_ray.spec.attempt import AttemptState, FailureKind
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.study_file import load_study
from pmd_ray.store.store import Store
from pmd_ray.train.workshop import Places

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_running")]
RESULTS = ("test_ranks.parquet", "valid_ranks.parquet")


def prepared(folder: Path, *overrides: str, store: str = "store") -> tuple[Prepared, StudyOptions]:
    folder.mkdir(exist_ok=True)
    file = tiny_study.write_study(folder)
    options = StudyOptions(places=Places(cache=folder / "cache"), device="cpu")
    study = load_study(str(file), overrides)
    return prepare(study, Store.open(folder / store), options, file=str(file), overrides=overrides), options


def run(
    folder: Path, *overrides: str, out: str = "run", store: str = "store"
) -> tuple[Walked, list[StudyEvent], Store]:
    ready, options = prepared(folder, *overrides, store=store)
    heard: list[StudyEvent] = []
    return run_study(ready, folder / out, options, listen=heard.append), heard, ready.store


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_running: None) -> Path:
    """A folder in which the tiny study was run, undisturbed."""
    folder = tmp_path_factory.mktemp("study")
    walked, heard, store = run(folder)
    assert len(walked.trained) == tiny_study.DISTINCT and not walked.failed
    assert sum(isinstance(event, StageStored) for event in heard) == tiny_study.DISTINCT
    assert all(len(store.attempts(key)) == 1 for key in walked.done)
    return folder


def ranks(store: Store) -> dict[str, list[bytes]]:
    keys = store.keys()
    return {key: [store.open_file(key, name) for name in RESULTS] for key in keys}


def test_run_again_nothing_trains(finished: Path) -> None:
    walked, heard, store = run(finished)
    assert walked.trained == set() and len(walked.done) == tiny_study.DISTINCT and heard == []
    assert all(len(store.attempts(key)) == 1 for key in walked.done)


def test_another_study_takes_what_is_equal(finished: Path) -> None:
    walked, _, _ = run(finished, "seeds=[0, 1, 2]", out="more")
    assert len(walked.trained) == tiny_study.DISTINCT // 2 and len(walked.done) == tiny_study.DISTINCT * 3 // 2


def test_a_folder_tells_of_one_storage(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"with its stages in .*, not "):
        run(finished, store=str(tmp_path / "other"))


def test_another_device_leaves_a_study_registered(finished: Path) -> None:
    """What `gc` keeps: the stages of both."""
    ready, options = prepared(finished)
    elsewhere = prepare(
        ready.record.study, ready.store, dataclasses.replace(options, device="cuda"), file=ready.record.file
    )
    assert not set(elsewhere.tree.stages) & set(ready.tree.stages)
    assert registered_name(elsewhere.record) != registered_name(ready.record)
    assert registered_name(ready.record) in ready.store.studies()


def test_a_folder_tells_of_one_study(finished: Path) -> None:
    with pytest.raises(UserError, match=r"seeds: \[0, 1\] -> \[0\]"):
        run(finished, "seeds=[0]")
    with pytest.raises(UserError, match=r"variants\.fixed\.grades\.1\.mask\.rate: 0\.2 -> 0\.1"):
        run(finished, "variants.fixed.mask.rate=0.1")


def test_a_broken_result_is_trained_again(finished: Path) -> None:
    store = Store.open(finished / "store")
    before, key = ranks(store), store.keys()[0]
    place = store.fetch(key) / RESULTS[0]
    place.write_bytes(place.read_bytes()[:-1])
    walked, heard, _ = run(finished)
    assert walked.trained == {key}
    assert [event.key for event in heard if isinstance(event, ArtifactSetAside)] == [key]
    assert ranks(store) == before


def test_killed_workers_are_replaced_and_the_numbers_stay(finished: Path, tmp_path: Path) -> None:
    """Three workers are killed in the middle of their stages."""
    ready, options = prepared(tmp_path)
    killed: set[str] = set()
    ended = threading.Event()

    def kill() -> None:
        while not ended.is_set() and len(killed) < 3:
            for attempt in ready.store.attempts():
                if attempt.state is AttemptState.RUNNING and attempt.epochs_finished and attempt.id not in killed:
                    killed.add(attempt.id)
                    os.kill(attempt.pid, signal.SIGKILL)
                    break
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    heard: list[StudyEvent] = []
    try:
        walked = run_study(ready, tmp_path / "run", options, listen=heard.append)
    finally:
        ended.set()
        killer.join()
    assert not walked.failed and len(walked.done) == tiny_study.DISTINCT
    lost = [event for event in heard if isinstance(event, StageTroubled)]
    assert len(lost) == len(killed) == 3 and {event.kind for event in lost} == {FailureKind.NODE_LOST}
    attempts = ready.store.attempts()
    assert sum(attempt.state is AttemptState.LOST for attempt in attempts) == 3
    needed = sum(stage.grade.optimiser.epochs for stage in ready.tree.stages.values())
    finished_epochs = sum(attempt.epochs_finished for attempt in attempts)
    started = sum(attempt.epochs_started for attempt in attempts)
    assert finished_epochs <= needed <= started <= needed + 3
    ours, theirs = ranks(ready.store), ranks(Store.open(finished / "store"))
    assert all(ours[key] == theirs[key] for key in walked.done)
