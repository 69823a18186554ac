"""Every shipped ablation runs at toy size: each of its settings reaches a training, each question an answer."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from reference import tiny
from reference.inline_pool import run_inline
from reference.toy_studies import OWN, toy_overrides

from pmd_ray.report.study_report import write_report
from pmd_ray.run.study import StudyOptions, prepare
from pmd_ray.spec.places import Places
from pmd_ray.spec.study_file import load_study
from pmd_ray.store.store import Store

pytestmark = pytest.mark.whole

QUICK = ("quickstart",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph and a store that all studies share."""
    place = tmp_path_factory.mktemp("toys")
    tiny.write_graph(place / "graph")
    return place


def run_toy(name: str, folder: Path) -> None:
    overrides = toy_overrides(name, folder / "graph")
    study, store = load_study(name, overrides), Store.open(folder / "store")
    walked, tree = run_inline(study, store, folder / "cache")
    assert not walked.failed and not walked.skipped and walked.stopped is None
    assert walked.done == set(tree.stages)
    options = StudyOptions(places=Places(cache=folder / "cache"), device="cpu")
    record = prepare(study, store, options, file=name, overrides=overrides).record
    write_report(record, store, folder / name, formats=["csv", "html"])
    with (folder / name / "tables" / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = {row["variant"] for row in rows}
    assert told == {variant.name for variant in study.variants}
    aliases = record.aliases()
    assert all(row["mrr_mean"] for row in rows if row["variant"] not in aliases)
    with (folder / name / "tables" / "comparisons.csv").open(encoding="utf-8", newline="") as file:
        answered = {row["question"] for row in csv.DictReader(file)}
    assert answered == {question.question for question in study.compare}
    assert "</html>" in (folder / name / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", QUICK)
def test_a_toy_of_the_quickstart_runs(name: str, folder: Path) -> None:
    run_toy(name, folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(OWN) - set(QUICK)))
def test_every_other_shipped_study_runs_at_toy_size(name: str, folder: Path) -> None:
    run_toy(name, folder)
