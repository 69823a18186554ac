"""`pmd search`, `resume`, `plan`, `status`, `report` and `show` around one toy search, trained in this process."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from reference.inline_search import TRIALS, Ordered, without_ray, write_search
from reference.once import once

from pmd_ray.spec.search_folder import read_search
from pmd_ray.spec.search_record import TrialState
from pmd_ray.store.store import Store

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]
DONE, RUNNING = TrialState.DONE, TrialState.RUNNING


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A search that has ended, in a folder of the test's own."""

    folder: Path
    told: dict[str, Any]
    """What `--json` said."""

    @property
    def file(self) -> Path:
        return self.folder / "toy.yaml"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def command(self, *more: object) -> list[str]:
        """The same search again."""
        places = ["--storage", self.folder / "store", "--out", self.run, "--at-once", 1, "--format", "csv,yaml"]
        return [str(part) for part in ("search", self.file, *places, *more)]

    def attempts(self) -> int:
        return len(Store.open(self.folder / "store").attempts())


@pytest.fixture
def toy(tmp_path_factory: pytest.TempPathFactory, pmd: Pmd) -> Iterator[Toy]:
    """Trained once; everything that a test starts trains in this process too."""

    def make(folder: Path) -> None:
        write_search(folder)
        with without_ray():
            done = pmd(*Toy(folder=folder, told={}).command("--json"))
        assert done.code == 0, done.err
        (folder / "told.json").write_text(done.out, encoding="utf-8")

    folder = once(tmp_path_factory, "toy search", make)
    kept = folder.with_name("toy search kept")
    if not kept.exists():
        shutil.copytree(folder, kept)
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)  # paths are written down: a copy must lie where the first one lay
    with without_ray():
        yield Toy(folder=folder, told=json.loads((folder / "told.json").read_text(encoding="utf-8")))


def test_one_object_says_what_was_found(toy: Toy) -> None:
    told = toy.told
    assert {"search", "storage", "stopped", "trained", "best", "confirmed", "files", "warnings"} <= told.keys()
    assert told["search"] == "toy" and "every trial of the budget" in told["stopped"]
    record = read_search(toy.run)
    assert [trial.state for trial in record.trials] == [DONE] * TRIALS
    assert [trial.origin for trial in record.trials] == ["default", "outside", "sampled", "sampled"]
    assert told["trained"] == len({use.key for trial in record.trials for use in trial.stages})
    assert told["best"][0]["value"] == max(trial.value or 0.0 for trial in record.trials)
    (sentence,) = told["confirmed"]
    assert sentence.startswith("On test, trial-") and "95 % interval" in sentence and "2 seeds" in sentence
    assert {"best.yaml", "tables/trials.csv"} <= set(told["files"]) and record.confirm == "confirm"


def test_best_yaml_is_a_chain_that_distill_takes(toy: Toy, pmd: Pmd) -> None:
    dry = pmd("distill", toy.run / "best.yaml", "--dry-run", "--out", toy.folder / "chain")
    assert dry.code == 0, dry.err
    chain = yaml.safe_load((toy.run / "best.yaml").read_text(encoding="utf-8"))
    assert {grade["optimiser"]["schedule"] for grade in chain["grades"].values()} == {"linear"}


def test_again_nothing_is_trained(toy: Toy, pmd: Pmd) -> None:
    before, table = toy.attempts(), (toy.run / "tables" / "trials.csv").read_bytes()
    again = pmd(*toy.command("--json"))
    assert again.code == 0 and toy.attempts() == before
    assert again.json == {**toy.told, "trained": 0}
    assert "0 stages trained" in again.err
    assert (toy.run / "tables" / "trials.csv").read_bytes() == table


def test_the_folder_is_written_again_from_the_storage(toy: Toy, pmd: Pmd) -> None:
    before = toy.attempts()
    shutil.rmtree(toy.run)
    again = pmd(*toy.command("--json"))
    assert again.code == 0 and toy.attempts() == before and again.json["best"] == toy.told["best"]


def test_status(toy: Toy, pmd: Pmd) -> None:
    told = pmd("status", toy.run, "--json").json
    assert told["trials"]["done"] == TRIALS == len(told["rows"]) and told["best"]["value"] > 0
    shown = pmd("status", toy.run)
    assert shown.code == 0 and f"toy: {TRIALS} done" in shown.out and "ended: every trial" in shown.out
    assert "outside (not in the space)" in shown.out and "pmd resume" not in shown.out


def test_report_writes_it_again(toy: Toy, pmd: Pmd) -> None:
    done = pmd("report", toy.run, "--out", toy.folder / "other", "--json")
    assert done.code == 0 and done.json["confirmed"] == toy.told["confirmed"]
    page = (toy.folder / "other" / "report.html").read_text(encoding="utf-8")
    assert toy.told["confirmed"][0].split(":")[0] in page and "confirms" not in done.err
    assert (toy.folder / "other" / "confirm" / "report.html").is_file()


def test_the_confirmation_is_reported_in_the_formats_that_were_asked_for(toy: Toy, pmd: Pmd) -> None:
    def suffixes(folder: Path) -> set[str]:
        return {path.suffix for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}

    assert suffixes(toy.run / "confirm") == {".csv", ".json"}
    for formats, confirmed in (("md,yaml", {".md"}), ("yaml", set())):
        out = toy.folder / formats
        assert pmd("report", toy.run, "--out", out, "--format", formats).code == 0
        assert suffixes(out / "confirm") == confirmed and (out / "best.yaml").is_file()
    refused = pmd("report", toy.run, "--out", toy.folder / "refused", "--format", "md,parquet")
    assert refused.code == 2 and "--format parquet: not known" in refused.err
    assert not (toy.folder / "refused").exists()


def test_plan_of_what_is_stored(toy: Toy, pmd: Pmd) -> None:
    storage = ("--storage", toy.folder / "store")
    told = pmd("plan", toy.file, *storage, "--json").json
    assert told["search"] == "toy" and told["trials"]["planned"] == told["trials"]["done"] == TRIALS
    assert told["confirm"]["seeds"] == [1, 2]
    shown = pmd("plan", toy.file, *storage)
    assert shown.code == 0 and "toy" in shown.out and shown.out.count("\n") > 5
    elsewhere = pmd("plan", toy.file, "--storage", toy.folder / "nothing", "--json").json
    assert elsewhere["trials"]["done"] == 0 and not (toy.folder / "nothing").exists()


def test_a_larger_budget_goes_on_and_confirms_whoever_wins_then(toy: Toy, pmd: Pmd) -> None:
    record = read_search(toy.run)
    poor = tuple(trial.model_copy(update={"value": 1e-6}) for trial in record.trials)
    Store.open(toy.folder / "store").register(record.id, record.model_copy(update={"trials": poor}).model_dump_json())
    write_search(toy.folder, **{"trials: 4": "trials: 5"})
    done = pmd("resume", toy.run, "--format", "csv", "--json")
    assert done.code == 0, done.err
    assert read_search(toy.run).trials[:TRIALS] == poor and len(read_search(toy.run).trials) == TRIALS + 1
    assert done.json["confirmed"][0].startswith("On test, trial-4 ")


def test_other_seeds_confirm_anew(toy: Toy, pmd: Pmd) -> None:
    done = pmd(*toy.command("--set", "confirm.seeds=[3,4]", "--json"))
    assert done.code == 0 and done.json["trained"] == 0
    study = json.loads((toy.run / "confirm" / "study.json").read_text(encoding="utf-8"))
    assert study["study"]["seeds"] == [3, 4]


def test_resume_refuses_a_space_that_changed_and_says_what(toy: Toy, pmd: Pmd) -> None:
    before = toy.attempts()
    write_search(toy.folder, **{"0.2, 0.3]": "0.4]"})
    refused = pmd("resume", toy.run)
    assert refused.code == 2 and "space.masks.first" in refused.err and "put the file back" in refused.err
    assert toy.attempts() == before
    again = pmd(*toy.command())
    assert again.code == 2 and "holds another version of this search" in again.err and "--out" in again.err
    write_search(toy.folder, **{"about: W": "# A comment changes nothing.\nabout: w"})
    assert pmd("resume", toy.run, "--format", "csv").code == 0
    toy.file.unlink()
    gone = pmd("resume", toy.run, "--format", "csv")
    assert gone.code == 0 and "is not there any more; going on from the record" in gone.err


def test_another_search_in_the_same_folder_is_refused(toy: Toy, pmd: Pmd) -> None:
    other = write_search(toy.folder, "other")
    refused = pmd("search", other, *toy.command()[2:])
    assert refused.code == 2 and "name: toy -> other" in refused.err
    assert read_search(toy.run).search.name == "toy"


def test_a_search_and_an_ablation_take_no_folder_from_each_other(toy: Toy, pmd: Pmd) -> None:
    before = toy.attempts()
    ablation = pmd("ablate", "quickstart", "--out", toy.run, "--storage", toy.folder / "store")
    assert ablation.code == 2 and "holds a search; choose another folder" in ablation.err
    search = pmd(*toy.command("--out", toy.run / "confirm"))
    assert search.code == 2 and "holds an ablation; choose another folder" in search.err
    assert toy.attempts() == before


def test_another_graph_in_the_same_storage_is_refused(toy: Toy, pmd: Pmd) -> None:
    triples = toy.folder / "graph" / "train.tsv"
    triples.write_text("".join(triples.read_text().splitlines(keepends=True)[1:]))
    for out, where in ((toy.run, str(toy.run)), (toy.folder / "new", str(toy.folder / "store"))):
        refused = pmd(*toy.command("--out", out))
        assert refused.code == 2 and f"{where} holds this search on another version of the graph" in refused.err
    assert "--set name=" in refused.err and not (toy.folder / "new").exists()
    assert pmd(*toy.command("--out", toy.folder / "new", "--set", "name=new", "--set", "budget.trials=1")).code == 0


def test_ctrl_c_leaves_a_search_that_goes_on(toy: Toy, pmd: Pmd) -> None:
    places = ("--storage", toy.folder / "second", "--out", toy.folder / "again", "--at-once", 1)
    with without_ray() as ordered:
        interrupt(ordered, 1)
        stopped = pmd("search", toy.file, *places, "--format", "csv")
    assert stopped.code == 130 and f"pmd resume {toy.folder / 'again'} goes on" in stopped.err
    assert "go on with: pmd resume" in pmd("status", toy.folder / "again").out
    assert [trial.state for trial in read_search(toy.folder / "again").trials] == [DONE, RUNNING]
    resumed = pmd("resume", toy.folder / "again", "--format", "csv")
    assert resumed.code == 0, resumed.err
    first, second = read_search(toy.run), read_search(toy.folder / "again")
    assert [trial.params for trial in second.trials] == [trial.params for trial in first.trials]
    assert [trial.value for trial in second.trials] == [trial.value for trial in first.trials]
    attempts = Store.open(toy.folder / "second").attempts()
    assert len({attempt.key for attempt in attempts}) == len(attempts), "a stage was trained twice"


def interrupt(ordered: Ordered, trial: int) -> None:
    ordered.interrupt_at = trial


def test_resume_of_the_confirmation_leads_to_its_search(toy: Toy, pmd: Pmd) -> None:
    done = pmd("resume", toy.run / "confirm")
    assert done.code == 2 and f"pmd resume {toy.run}" in done.err


def test_show_knows_the_stages_of_a_search(toy: Toy, pmd: Pmd, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = read_search(toy.run).trials[2]
    teacher, last = trial.stages[0].key, trial.stages[-1].key
    for where in ((toy.run,), ("--storage", toy.folder / "store")):
        told = pmd("show", last[:12], *where, "--json").json
        assert told["id"] == last and [row["variant"] for row in told["rows"]] == ["trial-2"]
        assert told["rows"][0]["study"] == "search toy" and told["stages"][0]["state"] == "stored"
        assert told["stages"][0]["parents"][-1] == {"grade": "teacher", "stage": teacher}
    shared = pmd("show", teacher, toy.run, "--json").json
    assert [row["variant"] for row in shared["rows"]] == ["trial-0", "trial-2", "trial-3"]
    (toy.folder / "runs").mkdir()
    toy.run.rename(toy.folder / "runs" / "search-toy")
    monkeypatch.chdir(toy.folder)
    shown = pmd("show", last[:12])
    assert shown.code == 0 and "trial-2, grade 1:" in shown.out and "stored" in shown.out
    with (toy.folder / "runs" / "search-toy" / "confirm" / "tables" / "summary.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert pmd("show", row["id"]).code == 0


def test_a_journal_for_the_dashboard(toy: Toy, pmd: Pmd) -> None:
    assert pmd(*toy.command("--journal", toy.folder / "trials.log")).code == 0
    assert (toy.folder / "trials.log").read_bytes().startswith(b'{"op_code"')
    assert pmd("resume", toy.run, "--journal", toy.folder / "again.log").code == 0
    assert (toy.folder / "again.log").read_bytes().startswith(b'{"op_code"')


def test_a_shipped_search_is_planned_by_its_name(pmd: Pmd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = pmd("plan", "search_spaces/quickstart", "--json")
    assert done.code == 0 and done.json["search"] == "quickstart" and done.json["trials"]["planned"] > 10
    assert list(tmp_path.iterdir()) == []
