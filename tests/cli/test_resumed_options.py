"""`pmd resume` runs stages as they were run before, but for what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from run.made_search import record_of, search_of

from pmd_ray.cli.ablate import Given

NOTHING = Given(cpus=None, gpus=None, slots=None, workers=None, home=None)


def test_nothing_told_is_as_before(tmp_path: Path) -> None:
    record = record_of(search_of()).model_copy(
        update={"storage": str(tmp_path), "threads": 2, "workers": "1:2", "slots": 3, "home": str(tmp_path / "data")}
    )
    found = NOTHING.over(record)
    assert (found.cpus, found.slots, found.plan.text, found.gpus) == (2, 3, "1:2", 0.0)
    assert found.places.data_home == tmp_path / "data"


@pytest.mark.parametrize(("gpus", "expected"), [(None, 0.5), (1.0, 1.0)])
def test_shares_of_a_gpu_are_remembered(tmp_path: Path, gpus: float | None, expected: float) -> None:
    record = record_of(search_of()).model_copy(update={"storage": str(tmp_path), "device": "cuda", "gpus": 0.5})
    assert Given(cpus=None, gpus=gpus, slots=None, workers=None, home=None).over(record).gpus == expected


def test_what_is_told_counts(tmp_path: Path) -> None:
    record = record_of(search_of()).model_copy(update={"storage": str(tmp_path), "workers": "2", "slots": 3})
    found = Given(cpus=1, gpus=None, slots=1, workers="1", home=tmp_path).over(record)
    assert (found.cpus, found.slots, found.plan.text, found.places.data_home) == (1, 1, "1", tmp_path)
