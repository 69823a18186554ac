"""`pmd report` and `pmd show` as they are typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report.synthetic_study import Made, make_study

from pmd_ray.report import search_report, study_report

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_study(tmp_path_factory.mktemp("verbs") / "runs", triples=20)


def test_report_prints_the_table_and_where_it_lies(pmd: Pmd, made: Made) -> None:
    done = pmd("report", made.folder)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("synthetic: test split, last grade")
    assert [line.split()[0] for line in lines[2:6]] == ["baseline", "no_mgfd", "fixed_10", "direct"]
    assert "3 paired seeds." in done.out
    assert f"page: {made.folder / 'report.html'}" in lines
    assert (made.folder / "tables" / "summary.csv").is_file()


def test_report_as_one_object(pmd: Pmd, made: Made, tmp_path: Path) -> None:
    done = pmd("report", made.folder, "--out", tmp_path, "--format", "csv,md", "--json")
    assert done.code == 0, done.err
    assert {Path(name).suffix for name in done.json["files"]} == {".csv", ".md"}
    assert done.json["summary"][0]["variant"] == "baseline" and done.json["summary"][0]["mrr_mean"] > 0
    assert len(done.json["comparisons"]) == 4
    assert "tables:" in done.err and "page:" not in done.err


def test_report_of_no_study_and_unknown_formats(pmd: Pmd, made: Made, tmp_path: Path) -> None:
    assert (done := pmd("report", tmp_path)).code == 2 and "holds no study" in done.err
    assert (done := pmd("report", made.folder, "--format", "pdf")).code == 2 and "--format pdf: not known" in done.err


def test_help_names_the_formats_that_there_are(pmd: Pmd) -> None:
    study, search = ", ".join(study_report.FORMATS), ", ".join(search_report.FORMATS)
    assert set(search_report.FORMATS) - set(study_report.FORMATS) == {"yaml"}
    says = {
        "ablate": f"{study} (default: all).",
        "search": f"{search} (default: all). The confirmation's report has all of them but yaml.",
        "resume": f"Of a study: {study}; of a search: {search} (default: all).",
        "report": f"Of a study: {study}; of a search: {search} (default: all).",
    }
    for verb, words in says.items():
        assert words in re.sub(r"[\s│|]+", " ", pmd(verb, "--help").out), verb


def test_show_prints_the_card(pmd: Pmd, made: Made) -> None:
    id = next(row["id"] for row in pmd("report", made.folder, "--format", "csv", "--json").json["summary"])
    done = pmd("show", id, made.folder)
    assert done.code == 0, done.err
    assert "baseline, grade teacher: 12 layers, teacher, mask 0 (study synthetic)" in done.out
    for words in ("0123456789ab, pmd_ray 0.2.0", "node7", "pmd ablate synthetic.yaml", str(made.store.local)):
        assert words in done.out
    whole = pmd("show", id, made.folder, "--json").json
    assert whole["id"] == id and [stage["seed"] for stage in whole["stages"]] == [0, 1, 2]


def test_show_looks_in_runs_and_in_storages(pmd: Pmd, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder.parents[1])
    (made.folder.parent / "broken").mkdir(exist_ok=True)
    (made.folder.parent / "broken" / "study.json").write_text("{", encoding="utf-8")
    key = made.key("direct", "3", 1)
    done = pmd("show", key[:12])
    assert done.code == 0 and "direct, grade 3" in done.out and "left out:" in done.err
    done = pmd("show", key[:12], "--storage", made.record.storage)
    assert done.code == 0 and f"seed 1: {key[:16]} <- teacher" in done.out


def test_show_of_nothing(pmd: Pmd, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = pmd("show", "0000aaaa", made.folder)
    assert done.code == 2 and "no id begins with '0000aaaa'" in done.err and "(baseline" in done.err
    done = pmd("show", "0000aaaa", made.folder, "--storage", made.record.storage)
    assert done.code == 2 and "not both" in done.err
    monkeypatch.chdir(tmp_path)
    done = pmd("show", "0000aaaa")
    assert done.code == 2 and "no study in ./runs" in done.err


def test_the_verbs_are_light_until_they_run(pmd: Pmd) -> None:
    for verb in ("report", "show"):
        assert pmd(verb, "--help").code == 0
