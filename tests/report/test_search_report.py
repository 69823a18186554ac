"""The report of a search as files: whole, the same twice, without what is stale; the page told in words."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from report.search_made import MadeSearch, make_search
from report.test_search_confirmed import confirming_study

from pmd_ray.report.folder import write_text
from pmd_ray.report.search_report import FIGURES, TABLES, SearchWritten, write_search_report
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search_record import TrialState

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeSearch:
    return make_search(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def written(made: MadeSearch, tmp_path_factory: pytest.TempPathFactory) -> SearchWritten:
    return write_search_report(made.record, made.store, tmp_path_factory.mktemp("out"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written(made: MadeSearch, written: SearchWritten) -> None:
    names = {name for name in files(written.out) if not name.startswith("tensorboard/")}
    tables = {f"tables/{name}.csv" for name in TABLES}
    tables |= {f"tables/{name}.{ending}" for name in TABLES if name != "pareto" for ending in ("md", "tex")}
    figures = {f"figures/{name}.{ending}" for name in FIGURES for ending in ("svg", "png")}
    assert names == tables | figures | {"report.html", "best.yaml", "best-2.yaml", "best-3.yaml"}
    assert {path.relative_to(written.out).as_posix() for path in written.files} == set(files(written.out))
    assert len(files(written.out)) == len(names) + 2 * len(made.record.trials)
    assert written.json()["best"][0]["trial"] == 4 and written.confirmed == ()


def test_every_trial_has_a_row_with_its_reason(made: MadeSearch, written: SearchWritten) -> None:
    with (written.out / "tables" / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in made.record.trials]
    assert rows[17]["state"] == "failed" and rows[17]["reason"] == "out of memory: <b>grade 4</b>"
    assert float(rows[4]["value"]) == made.record.trials[4].value and rows[4]["layers"] == "6-4-3"
    assert rows[5]["value"] == "" and rows[5]["epochs"] == "6"


def test_two_reports_are_the_same_bytes_and_need_neither_torch_nor_ray(
    made: MadeSearch, written: SearchWritten, tmp_path: Path
) -> None:
    (tmp_path / "search.json").write_text(made.record.model_dump_json(), encoding="utf-8")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from pmd_ray.report.search_report import write_search_report\n"
        "from pmd_ray.spec.search_folder import read_search\nfrom pmd_ray.store.store import Store\n"
        f"record = read_search(Path({str(tmp_path)!r}))\n"
        f"write_search_report(record, Store.open(record.storage), Path({str(tmp_path / 'again')!r}))\n"
        "print(sorted({'torch', 'ray', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=180)
    assert done.stdout.strip() == "[]" and done.stderr == ""
    again, first = files(tmp_path / "again"), files(written.out)
    assert set(again) == set(first)
    assert {name for name in first if first[name] != again[name]} == set()


def test_the_page_tells_all_and_obeys_nothing(written: SearchWritten) -> None:
    page = (written.out / "report.html").read_text(encoding="utf-8")
    for words in (
        "Which schedule, on &lt;made-up&gt; figures?",
        "Nothing was scored on test yet",
        "the best trial (4) has optimiser.lr = 0.0005, the upper end of its range",
        "out of memory: &lt;b&gt;grade 4&lt;/b&gt;",
        "worse than 6 of 8 at epoch 6",
        "The trials asked for 89 stages, 62 of them distinct; 78 were seen to their end, and for these 51",
        "2 layers: within one standard error of trial 1 are 3, 15.",
        "1 trial had not ended when this was written.",
        "30 trials (1 running, 24 done, 4 pruned, 1 failed)",
    ):
        assert words in page
    assert "<b>grade" not in page and page.count("<svg") == len(FIGURES) and "<script" not in page


def test_a_confirmation_stands_first(made: MadeSearch, tmp_path: Path) -> None:
    storage = Path(made.record.storage).parent
    shutil.copytree(storage, tmp_path / "made")
    study = confirming_study(tmp_path / "made", made.record)
    done = write_search_report(
        made.record, study.store, tmp_path / "out", formats=["html", "yaml"], confirmed=study.record
    )
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert done.confirmed[0].startswith("On test, best_3 ") and "Nothing was scored on test" not in page
    assert page.index(done.confirmed[0].split(":")[0]) < page.index('id="best"')
    comments = " ".join(line.lstrip("# ") for line in (tmp_path / "out" / "best.yaml").read_text().splitlines())
    assert done.confirmed[0] in comments and done.warnings[-1].startswith("1 trial had not ended")


def test_a_search_without_a_trial_that_is_done_has_a_report_that_says_so(made: MadeSearch, tmp_path: Path) -> None:
    failed = tuple(
        trial.model_copy(update={"state": TrialState.FAILED, "value": None, "reports": (), "reason": "no disk"})
        for trial in made.record.trials[:3]
    )
    write_text(tmp_path / "best.yaml", "old")
    write_text(tmp_path / "figures" / "slices.svg", "old")
    write_text(tmp_path / "best-practice.yaml", "mine")
    record = made.record.model_copy(update={"trials": failed})
    done = write_search_report(record, made.store, tmp_path)
    assert "No trial is done: there is nothing to choose from." in done.warnings and done.table.rows == ()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("no disk") == 3 and "<svg" not in page
    assert not (tmp_path / "best.yaml").exists() and not (tmp_path / "figures" / "slices.svg").exists()
    assert (tmp_path / "best-practice.yaml").read_text() == "mine"
    empty = write_search_report(made.record.model_copy(update={"trials": ()}), made.store, tmp_path / "empty")
    assert empty.table.rows == ()


def test_only_the_formats_that_are_asked_for(made: MadeSearch, tmp_path: Path) -> None:
    write_search_report(made.record, made.store, tmp_path, formats=["yaml", "md"])
    assert {name for name in files(tmp_path) if not name.endswith(".md")} == {
        "best.yaml",
        "best-2.yaml",
        "best-3.yaml",
    }
    with pytest.raises(UserError, match=r"--format htm: not known; did you mean 'html'\?"):
        write_search_report(made.record, made.store, tmp_path, formats=["htm"])
