"""Walking a chain: what lies where afterwards, whole files, one run in a folder, grades that are there already."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pmd_ray.run import distil as walk
from pmd_ray.run.distil import distil, locked, read_results, write_whole
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.errors import StorageError, UserError
from pmd_ray.train.workshop import Places

pytestmark = pytest.mark.whole


def test_what_lies_in_the_folder(tiny_run: Any) -> None:
    there = {path.name for path in tiny_run.out.iterdir()}
    grades = {"teacher", "2", "1", "1-alone"}
    assert there == {*grades, "cache", "chain.yaml", "results.json", "tensorboard", ".lock"}
    assert {path.name for path in (tiny_run.out / "tensorboard").iterdir()} == grades
    for grade in grades:
        files = {path.name for path in (tiny_run.out / grade).iterdir()}
        assert files == {
            "model",
            "valid_ranks.parquet",
            "test_ranks.parquet",
            "epochs.json",
            "grade.yaml",
            "result.json",
        }


def test_the_written_chain_is_the_same_chain(tiny_run: Any) -> None:
    assert load_chain(str(tiny_run.out / "chain.yaml")) == load_chain(str(tiny_run.chain))


def test_results_are_read_back(tiny_run: Any, tmp_path: Path) -> None:
    result = read_results(tiny_run.out)
    assert [grade.name for grade in result.grades] == ["teacher", "2", "1", "1-alone"]
    assert result.share_of_teacher(0) is None
    assert result.share_of_teacher(1) == pytest.approx(result.grades[1].test.all.mrr / result.grades[0].test.all.mrr)  # type: ignore[union-attr]
    assert set(result.versions) >= {"python", "torch", "ray"}
    with pytest.raises(UserError, match=r"results\.json is missing"):
        read_results(tmp_path)


def test_a_removed_grade_is_trained_again_and_alone(tiny_run: Any, tmp_path: Path) -> None:
    import shutil

    out = shutil.copytree(tiny_run.out, tmp_path / "run")
    shutil.rmtree(out / "1-alone")
    before = (out / "2" / "result.json").stat().st_mtime_ns
    heard: list[Any] = []
    result = distil(load_chain(str(tiny_run.chain)), out, listen=heard.append)
    told = {event.grade: event.reused for event in heard if type(event).__name__ == "GradeDone"}
    assert told == {"teacher": True, "2": True, "1": True, "1-alone": False}
    assert (out / "2" / "result.json").stat().st_mtime_ns == before
    # The same seed on the same machine gives the same model, to the last bit.
    assert result.grades[3].test == read_results(tiny_run.out).grades[3].test


def test_another_configuration_is_refused_before_anything_is_written(tiny_run: Any) -> None:
    other = load_chain(str(tiny_run.chain), ["grades.1.optimiser.lr=1e-4"])
    before = sorted(path for path in tiny_run.out.rglob("*") if "__pycache__" not in path.parts)
    with pytest.raises(UserError, match=r"holds grades of another configuration \(1, 1-alone\); choose another folder"):
        distil(other, tiny_run.out, places=Places())
    assert sorted(tiny_run.out.rglob("*")) == before


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    holder = os.fork()
    if not holder:  # a copy of this process, which leaves by the kernel's door only
        try:
            with locked(tmp_path):
                os.write(writer, b"held")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 4) == b"held"
    with pytest.raises(UserError, match="another run is at work"), locked(tmp_path):
        pass
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))  # as a folder under /proc does

    monkeypatch.setattr(Path, "mkdir", refuse)
    told = r"run could not be written: No such file or directory; choose a place "
    with pytest.raises(StorageError, match=told), locked(tmp_path / "run"):
        pass


def test_a_file_is_whole_or_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_whole(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(path, "new")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["results.json"])  # noqa: PTH208
    monkeypatch.setenv("RANK", "1")
    write_whole(path, "of another worker")
    assert path.read_text() == "old"


def test_a_disk_that_fails_at_the_end_says_where(tiny_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    before = json.loads((tiny_run.out / "results.json").read_text())
    monkeypatch.setattr(walk, "write_whole", full)
    with pytest.raises(StorageError, match=r"run: No space left on device: .*chain\.yaml; free some space"):
        distil(load_chain(str(tiny_run.chain)), tiny_run.out)
    assert json.loads((tiny_run.out / "results.json").read_text()) == before
