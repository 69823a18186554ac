"""A stage inside this process: Ray Train's local mode, told epochs, failures in the user's words."""

from __future__ import annotations

import errno
import logging
import pickle
from pathlib import Path

import pytest
import torch
from reference.tiny import write_chain

from pmd_ray.run.evidence import Evidence
from pmd_ray.run.far_files import FarFiles
from pmd_ray.run.mailbox import NodeStorageError
from pmd_ray.run.stage import is_lost_neighbour, portable, run_stage
from pmd_ray.run.storage import storage_failures_named
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.errors import DataError, NotFiniteError, PmdError, SpecError, StorageError
from pmd_ray.train.chain_stages import stages_of
from pmd_ray.train.events import EpochDone, Event, GradeDone, GradeStarted
from pmd_ray.train.workshop import Places, device_of, open_workshop

pytestmark = pytest.mark.whole


def test_a_stage_in_this_process_needs_no_ray_cluster(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chain = load_chain(str(write_chain(tmp_path)), ["layers=[1]", "mask_rates=[]"])
    shop = open_workshop(chain, Places())
    stage = stages_of(chain, shop, tmp_path / "run", device_of("cpu"))[0]
    heard: list[Event] = []
    with caplog.at_level(logging.INFO):
        result = run_stage(stage, Places(), WorkerPlan(), shop=shop, listen=heard.append)
    import ray

    assert not ray.is_initialized()
    assert not [record for record in caplog.records if record.name.startswith("ray.train")]
    assert isinstance(heard[0], GradeStarted)
    assert isinstance(heard[-1], GradeDone)
    assert [event.epoch for event in heard if isinstance(event, EpochDone)] == [1, 2]
    assert not stage.work.exists()
    heard.clear()
    assert run_stage(stage, Places(), WorkerPlan(), listen=heard.append) == result
    assert [type(event) for event in heard] == [GradeDone]


def test_a_full_disk_names_the_folder_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught, storage_failures_named(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "/x")
    assert str(caught.value).startswith(f"{tmp_path}: No space left on device: /x; free some space")


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), FileNotFoundError(2, "no such"), KeyError("x"), StorageError("told")]
)
def test_other_failures_stay_what_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, storage_failures_named(tmp_path):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer"), True),
        (torch.distributed.DistNetworkError("the client socket has timed out"), True),
        (torch.OutOfMemoryError("CUDA out of memory; NCCL holds 2 GiB"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("gloo is a German word"), False),
    ],
)
def test_a_lost_neighbour_is_told_from_what_no_new_group_can_mend(error: Exception, lost: bool) -> None:
    assert is_lost_neighbour(error) is lost


def test_any_error_travels_from_a_worker_with_its_traceback() -> None:
    class Stubborn(RuntimeError):
        def __reduce__(self) -> tuple[object, ...]:
            raise TypeError("not to be copied")

    for error, kind in ((torch.OutOfMemoryError("no room"), torch.OutOfMemoryError), (Stubborn("x"), RuntimeError)):
        try:
            raise error
        except RuntimeError as caught:
            arrived = pickle.loads(pickle.dumps(portable(caught)))
        assert type(arrived) is kind and type(error).__name__ in f"{type(arrived).__name__}: {arrived}"
        assert any("test_any_error_travels" in note for note in arrived.__notes__)


@pytest.mark.parametrize(
    "error",
    [
        SpecError("chain", ["one", "two"]),
        DataError(Path("graph"), ["a.tsv:1: bad"]),
        NotFiniteError("loss is nan"),
        StorageError("full"),
    ],
)
def test_errors_travel_from_a_worker_as_themselves(error: PmdError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), arrived.exit_code) == (type(error), str(error), error.exit_code)


def test_a_disk_that_refuses_elsewhere_keeps_its_node_and_notes() -> None:
    error = NodeStorageError("10.0.0.2: /x could not be written", "a node")
    error.add_note("in a worker")
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.node, copied.__notes__) == (str(error), "a node", ["in a worker"])
    assert isinstance(copied, StorageError)


def test_what_ray_shows_of_its_workers_settings_holds_no_secret() -> None:
    """Ray Train keeps the text of each of them for its dashboard."""
    secret = "s3://key:SECRET@bucket/store"
    for given in (
        FarFiles(storage=secret, key="a", teacher_key=None, node="n"),
        Evidence(command=f"pmd ablate x --storage {secret}"),
        Places(storage=secret),
    ):
        assert "SECRET" not in str(given) and "SECRET" not in repr(given)
