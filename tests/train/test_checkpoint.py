"""A folder appears whole or not at all, and a disk that refuses is one clear error."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from reference.full_disk import files_up_to
from safetensors.torch import save_file

from pmd_ray.spec.errors import StorageError
from pmd_ray.train.checkpoint import Progress, read_progress, whole_folder
from pmd_ray.train.curves import Curves
from pmd_ray.train.ranks_file import RankRows, write_ranks


def names(folder: Path) -> set[str]:
    return {place.name for place in folder.iterdir()}


def test_a_whole_folder_appears_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "grade"
    with whole_folder(final) as aside:
        (aside / "in").mkdir()
        (aside / "in" / "file").write_text("new")
        assert not final.exists()
    assert (final / "in" / "file").read_text() == "new"
    assert names(final.parent) == {"grade"}


def test_an_old_folder_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "grade"
    final.mkdir()
    (final / "old").touch()
    with pytest.raises(KeyboardInterrupt), whole_folder(final) as aside:
        (aside / "new").touch()
        raise KeyboardInterrupt
    assert names(tmp_path) == {"grade"} and names(final) == {"old"}
    with whole_folder(final) as aside:
        (aside / "new").touch()
    assert names(tmp_path) == {"grade"} and names(final) == {"new"}


def test_what_killed_runs_left_goes(tmp_path: Path) -> None:
    for left in (".grade.123.aside", ".grade.123.old", ".other.123.aside"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "file").touch()
    with whole_folder(tmp_path / "grade"):
        pass
    assert names(tmp_path) == {"grade", ".other.123.aside"}


def test_a_checkpoint_of_an_earlier_version_is_left_aside(tmp_path: Path) -> None:
    """Its optimiser has another shape: the grade starts anew."""
    old = asdict(Progress(key="k", epoch=2, steps=8, valid_mrr=[0.1, 0.2]))
    del old["epochs"], old["layout"]
    (tmp_path / "epoch-0002").mkdir()
    (tmp_path / "epoch-0002" / "progress.json").write_text(json.dumps(old))
    assert read_progress(tmp_path, "k") is None


def _ranks(aside: Path) -> None:
    count = 5000
    luck = np.random.default_rng(0)
    rows = RankRows(
        queries=np.zeros((count, 3), dtype=np.int64),
        ranks=luck.random(count) + 1,
        scores=luck.random(count, dtype=np.float32),
        top_ids=np.zeros((count, 1), dtype=np.int32),
        top_scores=luck.random((count, 1), dtype=np.float32),
    )
    write_ranks(aside / "ranks.parquet", rows, entity_ids=["a"], relation_ids=["r"])


WRITERS: dict[str, Callable[[Path], object]] = {
    "python": lambda aside: (aside / "text").write_text("x" * 50_000),
    "torch": lambda aside: torch.save({"x": torch.rand(50_000)}, aside / "x.pt"),
    "safetensors": lambda aside: save_file({"x": torch.rand(50_000)}, aside / "x.safetensors"),
    "arrow": _ranks,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_refuses(tmp_path: Path, writer: str) -> None:
    """One message: what, where, the way out; nothing half-written."""
    final = tmp_path / "grade"
    with pytest.raises(StorageError) as raised, files_up_to(10_000), whole_folder(final) as aside:
        WRITERS[writer](aside)
    message = str(raised.value)
    assert message.startswith(f"{final} could not be written: ") and "\n" not in message
    assert "free some space" in message and "the same command goes on" in message
    assert os.strerror(errno.EFBIG) in message or "the disk took only a part of a file" in message
    assert names(tmp_path) == set()


def test_curves_that_cannot_be_written(tmp_path: Path) -> None:
    """torch's SummaryWriter would print a traceback from a thread of its own, and training would go on."""
    with pytest.raises(StorageError, match=r"events\.out\.tfevents.* could not be written"), files_up_to(1000):
        curves = Curves(tmp_path / "curves", from_step=0)
        for step in range(100):
            curves.validation(step, 0.5)
            curves.flush()
    with pytest.raises(StorageError, match="Not a directory"):
        (tmp_path / "file").touch()
        Curves(tmp_path / "file" / "curves", from_step=0)
