"""A trial passes on what the desk says, stage by stage; and what its reports say of a stored stage."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pmd_ray.run.search import trial as trials
from pmd_ray.run.search.desk import Desk, DeskSource, News
from pmd_ray.run.search.reports import TrialFailed, TrialReport
from pmd_ray.run.search.results import Results, standard_error
from pmd_ray.spec.attempt import FileEntry, Manifest, Provenance
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import GradeResult, Metrics, RankingReport
from pmd_ray.store.artifacts import ArtifactBroken
from pmd_ray.train.ranks_file import RankRows, write_ranks

REPORT = TrialReport(number=3, epoch=1, grade="a", grade_epoch=1, target_epoch=0, value=0.2, rr=(0.5, 1.0))
KEY = "a" * 64


class PlayedDesk:
    """Says one thing after another."""

    def __init__(self, *items: list[News]) -> None:
        self._items = list(items)
        self.asked: list[tuple[int, int]] = []

    def ask(self, number: int, *, place: int, heard: int) -> list[News]:
        self.asked.append((place, heard))
        return self._items.pop(0)


def test_the_next_stage_is_wanted_when_the_last_report_was_taken() -> None:
    end, last = replace(REPORT, grade_done=True), replace(REPORT, grade_done=True, finished=True)
    desk = PlayedDesk([REPORT], [], [end], [REPORT, last])
    reports = DeskSource(desk, sleep=lambda seconds: None).reports(3)
    assert [next(reports), next(reports)] == [REPORT, end]
    assert desk.asked == [(0, 0), (0, 1), (0, 1)], "nothing more is wanted while a report is not taken"
    assert list(reports) == [REPORT, last] and desk.asked[-1] == (1, 2)


def test_pauses_grow_to_the_limit_while_nothing_is_new() -> None:
    pauses: list[float] = []
    desk = PlayedDesk(*[[]] * 9, [replace(REPORT, finished=True)])
    list(DeskSource(desk, poll_s=0.3, sleep=pauses.append).reports(3))
    assert pauses == sorted(pauses) and len(pauses) == 9 and pauses[0] < 0.1 and pauses[-1] == 0.3


def test_a_trial_started_again_hears_everything_again_and_wants_no_less() -> None:
    desk = Desk()
    desk.ask(3, place=0, heard=0)
    desk.exchange({3: [REPORT]}, [])
    desk.ask(3, place=1, heard=1)
    assert desk.ask(3, place=0, heard=0) == [REPORT]
    assert desk.exchange({}, []) == {3: 1}


def test_a_closed_trial_wants_nothing_and_hears_nothing() -> None:
    desk = Desk()
    desk.ask(3, place=0, heard=0)
    assert desk.exchange({3: [REPORT]}, [3]) == {}
    assert desk.ask(3, place=0, heard=0) == [] and desk.exchange({}, []) == {}


def test_reports_reach_tune_and_can_be_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(trials.tune, "report", told.append)
    last = replace(REPORT, finished=True, standard_error=0.01, parameters=5, latency_ms=2.0, seconds=9.0)
    trials.trainable({"number": 3}, DeskSource(PlayedDesk([REPORT, last])))
    assert [TrialReport.of_result({**result, "training_iteration": 1}) for result in told] == [REPORT, last]
    assert told[0]["rr"] == [0.5, 1.0] and json.dumps(told)


def test_a_failed_stage_is_raised_with_its_reason() -> None:
    failed = pickle.loads(pickle.dumps(TrialFailed("student: nan: why")))
    with pytest.raises(TrialFailed, match="student: nan: why"):
        list(DeskSource(PlayedDesk([REPORT], [failed])).reports(3))


def test_a_trial_loads_no_torch() -> None:
    code = "import sys, pmd_ray.run.search.trial, pmd_ray.run.search.desk; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What is read of a stored stage


class Files:
    """A store's artifact in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifest(self, key: str) -> Manifest | None:
        files = [FileEntry(path=path.name, size=1, sha256="0" * 64) for path in self._folder.iterdir()]
        return Manifest(format=1, key=key, created="", files=tuple(files), provenance=Provenance(package="1"))

    def open_file(self, key: str, name: str) -> bytes:
        if not (self._folder / name).is_file():
            raise ArtifactBroken(key, str(self._folder), [f"{name}: not there"])
        return (self._folder / name).read_bytes()

    def work(self, key: str) -> Path:
        return self._folder / "work"


def metrics(**changed: float) -> Metrics:
    return Metrics(**{"queries": 4, "mrr": 0.25, "hits1": 0.1, "hits3": 0.3, "hits10": 0.6, "mr": 4.0, **changed})


def write_result(folder: Path, *, valid: bool = True) -> None:
    report = RankingReport(split="valid", all=metrics(), forward=metrics(), backward=metrics(), by_relation={})
    result = GradeResult(
        name="student",
        key=KEY,
        layers=1,
        parameters=5,
        embedding_parameters=1,
        mask_rate=0.0,
        teacher=None,
        valid=report if valid else None,
        test=None,
        best_epoch=2,
        epochs=2,
        steps=4,
        seconds=10.0,
        cpu_seconds=20.0,
        unmasked_share=0.0,
    )
    (folder / "result.json").write_text(result.model_dump_json(by_alias=True), encoding="utf-8")


def write_epochs(folder: Path) -> None:
    epochs = [
        {"epoch": number, "metrics": metrics(hits10=number / 10).model_dump(by_alias=True), "rr": [1 / number]}
        for number in (1, 2, 3)
    ]
    (folder / "epochs.json").write_text(json.dumps(epochs), encoding="utf-8")


def test_a_stored_stage_has_the_value_of_what_it_keeps_and_its_epochs(tmp_path: Path) -> None:
    write_result(tmp_path)
    write_epochs(tmp_path)
    grade = Results(Files(tmp_path), metric="hits@10", device="cpu").grade(KEY)
    assert grade.value == 0.6 and grade.rr == (0.5,) and grade.parameters == 5 and grade.seconds == 20.0
    assert [(epoch.number, epoch.value) for epoch in grade.epochs] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert Results(Files(tmp_path), metric="mrr", device="cuda").grade(KEY).seconds == 10.0


def test_a_stage_of_an_earlier_version_has_its_value_alone(tmp_path: Path) -> None:
    write_result(tmp_path)
    results = Results(Files(tmp_path), metric="mrr", device="cpu")
    assert results.grade(KEY).value == 0.25 and results.grade(KEY).epochs == () == results.grade(KEY).rr
    last = results.last(KEY)
    assert last.standard_error is None and last.latency_ms is None
    assert results.kept(KEY) == ()


def test_a_stage_that_tells_nothing_of_validation_says_so(tmp_path: Path) -> None:
    write_result(tmp_path, valid=False)
    with pytest.raises(UserError, match="no validation result"):
        Results(Files(tmp_path), metric="mrr", device="cpu").grade(KEY)
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="not readable"):
        Results(Files(tmp_path), metric="mrr", device="cpu").grade(KEY)


def test_the_last_grade_tells_how_sure_its_value_is_and_how_fast_it_answers(tmp_path: Path) -> None:
    ranks = np.array([1.0, 2.0, 4.0, 4.0, 1.0, 1.0])
    queries = np.array([[0, 0, 1], [1, 1, 0]] * 3)
    rows = RankRows(
        queries=queries,
        ranks=ranks,
        scores=np.zeros(6, dtype=np.float32),
        top_ids=np.zeros((6, 1), dtype=np.int32),
        top_scores=np.zeros((6, 1), dtype=np.float32),
    )
    write_ranks(tmp_path / "valid_ranks.parquet", rows, entity_ids=["a", "b"], relation_ids=["r"])
    (tmp_path / "costs.json").write_text('{"latency_ms": {"1": 1.5, "256": 9.0}}', encoding="utf-8")
    last = Results(Files(tmp_path), metric="mrr", device="cpu").last(KEY)
    triples = [0.75, 0.25, 1.0]
    assert last.latency_ms == 1.5
    assert last.standard_error == pytest.approx(np.std(triples, ddof=1) / np.sqrt(3))


def test_standard_errors_of_hits_count_triples_not_queries() -> None:
    ranks_T2 = np.array([[1.0, 1.0], [1.0, 1.0], [5.0, 5.0], [5.0, 5.0]])
    assert standard_error(ranks_T2, "hits@3") == pytest.approx(np.std([1, 1, 0, 0], ddof=1) / 2)
    assert standard_error(ranks_T2[:1], "mrr") is None
