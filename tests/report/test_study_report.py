"""The report as files: whole, the same twice, without what is stale, and on a full disk not at all."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from reference.full_disk import files_up_to
from report.synthetic_study import Made, depth_decides, make_study, publish

from pmd_ray.report.contents import contents
from pmd_ray.report.folder import write_text
from pmd_ray.report.page import page_html
from pmd_ray.report.study_report import FIGURES, TABLES, Written, write_report
from pmd_ray.spec.attempt import AttemptState
from pmd_ray.spec.errors import StorageError, UserError

pytestmark = pytest.mark.whole

METRIC_TABLES = ("summary.csv", "comparisons.csv", "per_seed.csv", "by_relation.csv", "by_direction.csv")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "tensorboard" not in path.parts
    }


def test_what_is_written(reported: Written) -> None:
    out = reported.out
    endings = {"csv": TABLES[:-1], "md": ("summary", "comparisons", "cost"), "tex": ("summary", "comparisons", "cost")}
    tables = {f"tables/{name}.{ending}" for ending, names in endings.items() for name in names}
    figures = {f"figures/{name}.{ending}" for name in FIGURES[:-1] for ending in ("svg", "png")}
    assert set(files(out)) == tables | figures | {"tables/queries.parquet", "report.html"}
    assert {path.relative_to(out).as_posix() for path in reported.files if "tensorboard" not in path.parts} == set(
        files(out)
    )
    assert reported.failed == 0 and reported.missing == ()
    assert len(pq.read_table(out / "tables" / "queries.parquet")) == 63 * 120


@pytest.fixture(scope="module")
def again(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same report by a process of its own, which had loaded nothing, and what heavy modules it then held."""
    out = tmp_path_factory.mktemp("again")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from pmd_ray.report.study_report import write_report\n"
        "from pmd_ray.spec.study_folder import read_record\nfrom pmd_ray.store.store import Store\n"
        f"record = read_record(Path({str(made.folder)!r}))\n"
        f"write_report(record, Store.open(record.storage, create=False), Path({str(out)!r}))\n"
        "print(sorted({'torch', 'ray', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    return out, done.stdout.strip() or done.stderr


def test_two_reports_are_the_same_bytes(reported: Written, again: tuple[Path, str]) -> None:
    assert files(reported.out) == files(again[0])


def test_tables_need_neither_torch_nor_ray(again: tuple[Path, str]) -> None:
    assert again[1] == "[]"


def test_metric_tables_follow_from_the_ranks_alone(tmp_path: Path) -> None:
    """Killed and resumed, trained on another machine, at another time: the same tables."""
    made = make_study(tmp_path / "undisturbed", triples=20)
    write_report(made.record, made.store, tmp_path / "a", formats=["csv"])
    again = make_study(tmp_path / "disturbed", triples=20, without=lambda run, use: True)
    again.store.begin(again.record.keys[0], study=None).end(AttemptState.LOST, seconds=3.0)
    for key in reversed(again.record.keys):
        spent = {"seconds": 1e4, "cpu_seconds": 1e5}
        publish(again, key, skill=depth_decides(*again.uses[key]), triples=20, changes=spent)
    other = again.record.model_copy(update={"created": "2031-01-01T00:00:00+00:00", "command": "pmd resume"})
    write_report(other, again.store, tmp_path / "b", formats=["csv"])
    for name in METRIC_TABLES:
        assert (tmp_path / "a" / "tables" / name).read_bytes() == (tmp_path / "b" / "tables" / name).read_bytes(), name
    assert files(tmp_path / "a")["tables/cost.csv"] != files(tmp_path / "b")["tables/cost.csv"]


def test_relations_with_formulas_are_quoted_in_the_table(made: Made, tmp_path: Path) -> None:
    write_report(made.record, made.store, tmp_path, formats=["csv"])
    with (tmp_path / "tables" / "by_relation.csv").open(encoding="utf-8", newline="") as file:
        names = {row["relation"] for row in csv.DictReader(file)}
    assert names == {"hypernym", "part of", "<script>alert(1)</script>", "'=cmd|' /C calc'!A0"}


def test_only_the_formats_that_are_asked_for(made: Made, tmp_path: Path) -> None:
    write_report(made.record, made.store, tmp_path, formats=["md"])
    assert set(files(tmp_path)) == {f"tables/{name}.md" for name in ("summary", "comparisons", "cost")}
    with pytest.raises(UserError, match=r"--format htm: not known; did you mean 'html'\?"):
        write_report(made.record, made.store, tmp_path, formats=["htm"])


def test_what_an_earlier_report_left_goes_and_what_is_anothers_stays(made: Made, tmp_path: Path) -> None:
    for name in ("tables/paper.csv", "figures/mask_rate.svg", "tables/mine.csv", "figures/mine.png"):
        write_text(tmp_path / name, "old")
    write_report(made.record, made.store, tmp_path, formats=["csv", "svg"])
    assert {name for name in files(tmp_path) if "mine" in name} == {"tables/mine.csv", "figures/mine.png"}
    assert not {"tables/paper.csv", "figures/mask_rate.svg"} & set(files(tmp_path))


def test_an_unfinished_study_has_a_report_that_says_so(tmp_path: Path) -> None:
    made = make_study(tmp_path, without=lambda run, use: run.seed == 2 and use.grade == "3", triples=20)
    written = write_report(made.record, made.store, tmp_path / "out", formats=["csv"])
    assert written.missing[0] == "baseline: seed 2: grade 3 not trained" and len(written.missing) == 4
    assert written.table.column("seeds") == ["2", "2", "2", "2"]
    assert "35 of 39 stages are there" in page_html(contents(made.record, made.store), [], [])


def test_a_broken_artifact_is_no_number(tmp_path: Path) -> None:
    made = make_study(tmp_path, triples=20)
    ranks = made.store.fetch(made.key("direct", "3", 1)) / "test_ranks.parquet"
    ranks.write_bytes(ranks.read_bytes()[:100])
    written = write_report(made.record, made.store, tmp_path / "out", formats=["csv"])
    assert written.failed == 1
    assert written.missing[0].startswith("direct: seed 1: grade 3 cannot be read: the artifact in")


def test_artifacts_over_different_triples_are_refused(tmp_path: Path) -> None:
    made = make_study(tmp_path, without=lambda run, use: use.grade == "3", triples=20)
    publish(made, made.key("direct", "3", 0), skill=1.0, triples=24)
    with pytest.raises(UserError, match="rank different test triples"):
        write_report(made.record, made.store, tmp_path / "out")


def test_a_full_disk_leaves_whole_files_only(reported: Written, tmp_path: Path) -> None:
    shutil.copytree(reported.out / "tables", tmp_path / "tables")
    shutil.copy(reported.out / "report.html", tmp_path)
    before = files(tmp_path)
    small = make_study(tmp_path / "other", triples=9)
    with files_up_to(4096), pytest.raises(StorageError, match="could not be written"):
        write_report(small.record, small.store, tmp_path, formats=["csv"])
    after = files(tmp_path)
    assert all(name.startswith(("tables/", "report", "other/")) and "/." not in name for name in after)
    assert after["report.html"] == before["report.html"]
