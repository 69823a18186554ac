"""`pmd fetch`, `pmd status --storage`, `pmd tensorboard`: a run read from its storage alone, on another machine."""

from __future__ import annotations

import shutil
import stat
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report.search_made import make_search
from report.synthetic_study import Made, make_study

from pmd_ray.cli import fetch, tensorboard
from pmd_ray.cli.stored import find_stored
from pmd_ray.run.search.confirm import confirming_study
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.study_record import StudyRecord

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_study(tmp_path_factory.mktemp("fetched") / "runs", triples=20)


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "tables").glob("*.csv")}


def test_a_study_is_fetched_as_it_is_reported(pmd: Pmd, made: Made, tmp_path: Path) -> None:
    store = made.store.location
    done = pmd("fetch", "synthetic", "--storage", store, "--out", tmp_path / "here", "--format", "csv")
    assert done.code == 0, done.err
    assert pmd("report", made.folder, "--out", tmp_path / "there", "--format", "csv").code == 0
    assert tables(tmp_path / "here") == tables(tmp_path / "there") != {}
    # From then on it is a run's folder like any other.
    assert pmd("report", tmp_path / "here", "--format", "md").code == 0
    assert pmd("fetch", "synthetic", "--storage", store, "--out", tmp_path / "here", "--format", "csv").code == 0


def test_a_folder_of_another_run_is_left_alone(pmd: Pmd, made: Made, tmp_path: Path) -> None:
    other = make_study(tmp_path / "runs", triples=20, name="other")
    before = (other.folder / "study.json").read_bytes()
    done = pmd("fetch", "synthetic", "--storage", made.store.location, "--out", other.folder)
    assert done.code == 2 and "--out" in done.err
    assert (other.folder / "study.json").read_bytes() == before
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "search.json").write_text("{}", encoding="utf-8")
    done = pmd("fetch", "synthetic", "--storage", made.store.location, "--out", tmp_path / "s")
    assert done.code == 2 and "holds another run (search.json)" in done.err


def test_names_that_are_not_there_or_not_the_only_one(pmd: Pmd, made: Made, tmp_path: Path) -> None:
    done = pmd("fetch", "syntetic", "--storage", made.store.location)
    assert done.code == 2 and "holds no study or search 'syntetic'" in done.err and "did you mean" in done.err
    done = pmd("fetch", "synthetic", "--storage", tmp_path / "none")
    assert done.code == 2 and "holds no store" in done.err
    shutil.copytree(made.store.local or Path(), tmp_path / "two")
    found = find_stored("synthetic", str(tmp_path / "two"))
    assert found.study is not None
    found.store.register("synthetic-again", found.study.model_dump_json())
    with pytest.raises(UserError, match=r"holds 2 by the name 'synthetic'; give one: synthetic-again, synthetic-"):
        find_stored("synthetic", str(tmp_path / "two"))
    assert find_stored("synthetic-again", str(tmp_path / "two")).study == found.study


def test_without_a_storage_the_way_out_is_said(pmd: Pmd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMD_STORAGE", raising=False)
    done = pmd("fetch", "synthetic")
    assert done.code == 2 and "--storage PLACE" in done.err and "--cluster FILE" in done.err


def test_a_search_is_fetched_and_shown(pmd: Pmd, tmp_path: Path) -> None:
    search = make_search(tmp_path / "made")
    search.store.register(search.record.id, search.record.model_dump_json())
    for name in ("made", "search-made", search.record.id):
        assert find_stored(name, search.store.location).search is not None
    out = tmp_path / "here"
    done = pmd("fetch", "made", "--storage", search.store.location, "--out", out, "--format", "csv,yaml")
    assert done.code == 0, done.err
    assert (out / "best.yaml").is_file() and (out / "tables" / "trials.csv").is_file()
    shown = pmd("status", "made", "--storage", search.store.location, "--json").json
    assert len(shown["rows"]) == len(search.record.trials)


def test_the_study_that_confirms_a_search_is_found_with_it(tmp_path: Path) -> None:
    search = make_search(tmp_path / "made")
    search.store.register(search.record.id, search.record.model_dump_json())
    assert find_stored("made", search.store.location).confirmed is None
    study = confirming_study(search.record)
    assert study is not None
    of_search = {name: getattr(search.record, name) for name in ("file", "storage", "device", "dataset", "encoders")}
    confirming = StudyRecord(study=study, created="2024-05-06", command="pmd", runs=(), keys=(), **of_search)
    search.store.register("of-another-device", confirming.model_copy(update={"device": "cuda"}).model_dump_json())
    assert find_stored("made", search.store.location).confirmed is None
    search.store.register("confirming", confirming.model_dump_json())
    found = find_stored("made", search.store.location).confirmed
    assert found is not None and found.study == study and found.storage == search.store.location


def test_status_from_the_storage_alone(pmd: Pmd, made: Made) -> None:
    done = pmd("status", "synthetic", "--storage", made.store.location)
    assert done.code == 0 and f"{len(made.record.keys)} stored" in done.out
    assert f"pmd fetch synthetic --storage {made.store.location}" in done.out
    told = pmd("status", "synthetic", "--storage", made.store.location, "--json").json
    assert told["stages"]["stored"] == len(made.record.keys)
    both = pmd("status", "synthetic", "--storage", made.store.location, "--address", "head:8265")
    assert both.code == 2 and "give one" in both.err


def test_a_run_is_copied_from_a_clusters_head(pmd: Pmd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own program is replaced by one that writes down what it was asked for."""
    program = tmp_path / "python"
    program.write_text(
        f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\n[ $5 != '~/pmd_ray/runs/none/' ] || exit 1\n"
        'mkdir -p "$6" && echo hi > "$6/report.html"\n',
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(fetch.sys, "executable", str(program))
    monkeypatch.setattr(fetch.shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "cluster.yaml").write_text("cluster_name: x\n", encoding="utf-8")
    done = pmd("fetch", "tiny", "--cluster", tmp_path / "cluster.yaml", "--out", tmp_path / "here")
    assert done.code == 0 and (tmp_path / "here" / "report.html").read_text() == "hi\n"
    asked = (tmp_path / "asked").read_text().split()
    assert asked[2:] == ["rsync-down", str(tmp_path / "cluster.yaml"), "~/pmd_ray/runs/tiny/", str(tmp_path / "here")]
    failed = pmd("fetch", "none", "--cluster", tmp_path / "cluster.yaml", "--out", tmp_path / "in" / "empty")
    assert failed.code == 2 and "could not be copied from the head" in failed.err
    assert not (tmp_path / "in").exists()
    absent = pmd("fetch", "tiny", "--cluster", tmp_path / "other.yaml")
    assert absent.code == 2 and "no such file" in absent.err


def test_event_files_of_a_folder_and_of_a_storage(made: Made, tmp_path: Path, pmd: Pmd) -> None:
    board = tensorboard.fetched_board("synthetic", made.store.location, tmp_path / "board")
    assert len(list(board.rglob("events.out.tfevents.*"))) > len(made.record.keys)
    assert tensorboard.board_of(tmp_path / "board") == board == tmp_path / "board" / "tensorboard"
    assert tensorboard.board_of(board) == board
    empty = pmd("tensorboard", tmp_path / "none")
    assert empty.code == 2 and "holds no event files" in empty.err


def test_tensorboard_answers_on_this_machine_alone(
    made: Made, tmp_path: Path, pmd: Pmd, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorboard.fetched_board("synthetic", made.store.location, tmp_path / "run")
    answers: list[bytes] = []

    def asked() -> None:
        """In place of waiting: look at the page, then end it as Ctrl-C would."""
        (url,) = urls
        with urllib.request.urlopen(f"{url}data/runs", timeout=60) as answer:
            answers.append(answer.read())
        raise KeyboardInterrupt

    urls: list[str] = []
    monkeypatch.setattr(tensorboard, "say", lambda text: urls.append(text.split()[0]))
    monkeypatch.setattr(tensorboard, "_serve", asked)
    done = pmd("tensorboard", tmp_path / "run", "--port", "0")
    assert done.code == 130 and "TensorBoard has ended" in done.err, done.err
    assert urls[0].startswith("http://127.0.0.1:")
    assert b"baseline/seed-0" in answers[0]
    port = urls[0].rstrip("/").rpartition(":")[2]
    taken = pmd("tensorboard", tmp_path / "run", "--port", port)
    assert taken.code == 2 and "cannot be started" in taken.err
