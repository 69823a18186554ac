"""What an artifact keeps of its epochs is read back as it was, and one without the file has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import Metrics
from pmd_ray.train.epochs_file import EPOCHS, EpochValues, read_epochs, write_epochs


def values(epoch: int, mrr: float) -> EpochValues:
    metrics = Metrics(queries=4, mrr=mrr, hits1=0.25, hits3=0.5, hits10=1.0, mr=3.5)
    return EpochValues(epoch=epoch, metrics=metrics, rr=(0.5, 0.33333))


def test_written_and_read(tmp_path: Path) -> None:
    epochs = [values(1, 0.1 + 0.2), values(2, 1 / 3)]
    write_epochs(tmp_path / EPOCHS, [one.model_dump(mode="json", by_alias=True) for one in epochs])
    assert read_epochs(tmp_path / EPOCHS) == tuple(epochs)
    first = json.loads((tmp_path / EPOCHS).read_text())[0]
    assert first["epoch"] == 1 and first["metrics"]["hits@1"] == 0.25 and first["rr"] == [0.5, 0.33333]


def test_an_artifact_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    assert read_epochs(tmp_path / EPOCHS) == ()
    write_epochs(tmp_path / EPOCHS, [])
    assert read_epochs(tmp_path / EPOCHS) == ()


@pytest.mark.parametrize("text", ["[", '[{"epoch": 1}]', "{}"])
def test_a_file_that_was_cut(tmp_path: Path, text: str) -> None:
    (tmp_path / EPOCHS).write_text(text)
    with pytest.raises(UserError, match=r"epochs\.json is not readable"):
        read_epochs(tmp_path / EPOCHS)
