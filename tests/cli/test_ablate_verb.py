"""`pmd ablate`, `resume` and `status` around a study whose stages are stored, and everything that can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference import tiny_study
from reference.inline_pool import run_inline
from reference.once import once

from pmd_ray.spec.study_file import load_study
from pmd_ray.store.store import Store

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]
SMALL = ["--set", "variants.fixed=null", "--set", "variants.direct=null", "--set", "variants.no_teacher=null"]
STAGES = 10


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tiny.yaml` and a store that has all stages of its small version."""

    def make(folder: Path) -> None:
        file = tiny_study.write_study(folder, epochs=1, **{"batch: 16": "batch: 60"})
        study = load_study(str(file), SMALL[1::2])
        walked, _ = run_inline(study, Store.open(folder / "store"), folder / "cache")
        assert len(walked.trained) == STAGES

    return once(tmp_path_factory, "trained study", make)


def arguments(trained: Path, out: Path, *more: str) -> list[str]:
    places = ["--storage", str(trained / "store"), "--out", str(out)]
    return ["ablate", str(trained / "tiny.yaml"), *places, "--format", "csv", *SMALL, *more]


def test_a_stored_study_is_reported_without_torch_or_ray(trained: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pmd_ray.cli.main import main\n"
        f"code = main({[*arguments(trained, tmp_path / 'run'), '--format', 'html', '--json']!r})\n"
        "assert not {'torch', 'ray', 'transformers'} & set(sys.modules), 'heavy'\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["stages"] == {
        "naive": 12,
        "distinct": STAGES,
        "trained": 0,
        "stored": STAGES,
        "failed": 0,
        "skipped": 0,
    }
    assert (tmp_path / "run" / "tables" / "summary.csv").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


def test_an_unknown_format_is_refused_before_anything_is_trained(tmp_path: Path, pmd: Pmd) -> None:
    file = tiny_study.write_study(tmp_path)
    store = tmp_path / "store"
    done = pmd("ablate", str(file), "--storage", str(store), "--out", str(tmp_path / "run"), "--format", "htlm")
    assert done.code == 2
    assert "--format htlm: not known; did you mean 'html'?" in " ".join(done.err.split())
    assert not store.exists() and not (tmp_path / "run").exists()


def test_run_twice_the_tables_are_equal(trained: Path, tmp_path: Path, pmd: Pmd) -> None:
    assert pmd(*arguments(trained, tmp_path / "run")).code == 0
    table = tmp_path / "run" / "tables" / "summary.csv"
    before = table.read_bytes()
    again = pmd("resume", str(tmp_path / "run"), "--format", "csv")
    assert again.code == 0 and f"0 stages trained, {STAGES} taken from" in again.out
    assert table.read_bytes() == before


def test_status_counts_what_is_stored(trained: Path, tmp_path: Path, pmd: Pmd) -> None:
    assert pmd(*arguments(trained, tmp_path / "run")).code == 0
    told = json.loads(pmd("status", str(tmp_path / "run"), "--json").out)
    assert told["stages"]["stored"] == STAGES == len(told["rows"])
    assert {row["attempts"] for row in told["rows"]} == {1}
    assert f"tiny: {STAGES} stored" in pmd("status", str(tmp_path / "run")).out


def test_another_study_in_the_same_folder_is_refused_with_the_difference(
    trained: Path, tmp_path: Path, pmd: Pmd
) -> None:
    assert pmd(*arguments(trained, tmp_path / "run")).code == 0
    done = pmd(*arguments(trained, tmp_path / "run", "--set", "seeds=[0]"))
    assert done.code == 2 and "seeds: [0, 1] -> [0]" in done.err and "--out" in done.err


def test_resume_refuses_a_file_that_means_something_else(trained: Path, tmp_path: Path, pmd: Pmd) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((trained / "tiny.yaml").read_text())
    start = ["ablate", str(file), "--storage", str(trained / "store"), "--out", str(tmp_path / "run"), *SMALL]
    start += ["--format", "csv"]
    assert pmd(*start).code == 0
    file.write_text(file.read_text().replace("mask.rate: 0.0", "mask.rate: 0.05"))
    done = pmd("resume", str(tmp_path / "run"), "--format", "csv")
    assert done.code == 2
    assert "variants.no_mgfd.grades.2.mask.rate: 0.0 -> 0.05" in done.err and "put the file back" in done.err
    file.write_text("# a comment changes nothing\n" + (trained / "tiny.yaml").read_text())
    assert pmd("resume", str(tmp_path / "run"), "--format", "csv").code == 0
    file.unlink()
    gone = pmd("resume", str(tmp_path / "run"), "--format", "csv")
    assert gone.code == 0 and "is not there any more; going on from the record" in gone.err


@pytest.mark.parametrize("verb", ["resume", "status", "report"])
@pytest.mark.parametrize(("content", "says"), [(None, "holds no study"), ("{", "cannot be read"), ("{}", "cannot be")])
def test_a_folder_without_a_study(verb: str, content: str | None, says: str, tmp_path: Path, pmd: Pmd) -> None:
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    done = pmd(verb, str(tmp_path))
    assert done.code == 2 and says in done.err and "Traceback" not in done.err


def test_wrong_options_are_told_before_anything_is_written(trained: Path, tmp_path: Path, pmd: Pmd) -> None:
    cases = [
        (["--device", "tpu"], "cpu, cuda or auto"),
        (["--device", "cpu", "--gpus", "1"], "--gpus 1"),
        (["--workers", "0"], "--workers"),
        (["--set", "bogus.key=1"], "bogus"),
        (["--cpus", "100000"], "--cpus"),
    ]
    for more, says in cases:
        out = tmp_path / "run"
        extra = ["--set", "seeds=[7]"] if "--cpus" in more else []  # something to train
        done = pmd(*arguments(trained, out, *more, *extra))
        assert done.code == 2 and says in done.err and "Traceback" not in done.err, more
        assert not (out / "tables").exists()


def test_a_storage_that_cannot_be_one(trained: Path, tmp_path: Path, pmd: Pmd) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letters.txt").write_text("something else")
    for place in ("file", "other", "file/below"):
        start = arguments(trained, tmp_path / "run")
        start[start.index("--storage") + 1] = str(tmp_path / place)
        done = pmd(*start)
        assert done.code == 2 and "Traceback" not in done.err, place
        assert not (tmp_path / "run").exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["letters.txt"]


def test_an_unknown_study_names_the_shipped_ones(pmd: Pmd) -> None:
    done = pmd("ablate", "quickstrat")
    assert done.code == 2 and "did you mean 'quickstart'?" in done.err
