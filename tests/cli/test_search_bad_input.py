"""What a user may get wrong with `pmd search`: one clear message, exit code 2, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.inline_search import without_ray, write_search

from pmd_ray.spec.search_folder import read_search
from pmd_ray.spec.search_record import TrialState

Pmd = Callable[..., Any]

MASKS = "  masks: {first: [0.0, 0.1, 0.2, 0.3], ratio: [0.5]}\n"
WEIGHTS = "  weights: {alpha: [0.1, 0.3], beta: [0.1, 0.2]}\n"
BAD_FILES = {
    "an empty space": ({MASKS + WEIGHTS: ""}, "space: missing or empty; say what may vary"),
    "one point": ({MASKS: "  masks: {first: [0.2], ratio: [0.5], last_zero: [true]}\n", WEIGHTS: ""}, "one point"),
    "a range upside down": (
        {"[0.0, 0.1, 0.2, 0.3]": "{low: 0.3, high: 0.1, step: 0.1}"},
        "space.masks.first: low must not be above high, got 0.3 > 0.1",
    ),
    "a loss that is not there": (
        {"search: {": "  settings: {loss.feature: [mgfd, pdk]}\nsearch: {"},
        "no loss 'pdk'; there are",
    ),
    "a mask policy that is not there": (
        {"search: {": "  settings: {mask.policy: [uniform, unifrm]}\nsearch: {"},
        "did you mean 'uniform'?",
    ),
    "a metric that is not there": ({"about: ": "metric: mrrr\nabout: "}, "did you mean 'mrr'?"),
    "a budget of no trials": ({"trials: 4": "trials: 0"}, "budget.trials: must be"),
    "a budget of no hours": ({"trials: 4": "hours: 0"}, "budget.hours: must be"),
    "a budget of no stages": ({"trials: 4": "stages: 0"}, "budget.stages: must be"),
    "no budget": ({"budget: {trials: 4}\n": ""}, "budget: missing; give trials, hours or stages"),
    "an unknown key": ({"search: {": "serach: {"}, "did you mean 'search'?"),
    "an unknown key of a part": ({"sampler: random": "smapler: random"}, "did you mean 'sampler'?"),
    "an unknown sampler": ({"sampler: random": "sampler: bayes"}, "search.sampler: must be 'tpe', 'nsga2'"),
    "a point that is no chain": ({"optimiser.lr: 2.0e-3": "optimiser.lr: 7"}, "enqueue.points.outside: "),
    "a point with an unknown key": ({"optimiser.lr: 2.0e-3": "optimiser.lrr: 1"}, "did you mean 'lr'?"),
    "seeds that are not fresh": ({"seeds: [1, 2]": "seeds: [0, 1]"}, "confirm.seeds: must be fresh"),
    "no graph": ({"source: ": "source: nowhere"}, "nowhere"),
}
BAD_OPTIONS = {
    "--at-once 0": (["--at-once", "0"], "--at-once"),
    "--slots 0": (["--slots", "0"], "--slots"),
    "--cpus 0": (["--cpus", "0"], "--cpus"),
    "--device": (["--device", "tpu"], "cpu, cuda or auto"),
    "--workers": (["--workers", "0"], "--workers"),
    "--format": (["--format", "csv,htlm"], "--format htlm: not known; did you mean 'html'?"),
    "--set of nothing": (["--set", "budget.trails=3"], "did you mean 'trials'?"),
    "--set without a value": (["--set", "seed"], "--set"),
    "--journal below a file": (["--journal", "toy.yaml/trials.log"], "toy.yaml/trials.log could not be written"),
    "--journal over a file": (["--journal", "toy.yaml"], "holds something that is no Optuna journal"),
    "--journal over a folder": (["--journal", "graph"], "graph could not be written"),
    "--out below a file": (["--out", "toy.yaml/run"], "toy.yaml/run"),
    "--storage below a file": (["--storage", "toy.yaml/store"], "toy.yaml"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the user stands, with a graph and a search file."""
    write_search(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("verb", ["search", "plan"])
@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_told_by_search_and_plan_alike(what: str, verb: str, here: Path, pmd: Pmd) -> None:
    changes, says = BAD_FILES[what]
    write_search(here, **changes)
    before = contents(here)
    with without_ray() as ordered:
        ordered.fail = "a stage was started"
        done = pmd(verb, "toy.yaml")
    assert done.code == 2 and says in done.err and done.out == "", done.err
    assert "pydantic" not in done.err
    assert contents(here) == before


def test_all_errors_come_at_once(here: Path, pmd: Pmd) -> None:
    write_search(here, **{"trials: 4": "trials: 0", "sampler: random": "sampler: bayes", "about: ": "abuot: "})
    done = pmd("search", "toy.yaml")
    assert done.code == 2 and "toy.yaml: 3 errors" in done.err


@pytest.mark.parametrize("what", BAD_OPTIONS)
def test_a_bad_option_is_told_before_anything_is_trained(what: str, here: Path, pmd: Pmd) -> None:
    more, says = BAD_OPTIONS[what]
    before = contents(here)
    with without_ray() as ordered:
        ordered.fail = "a stage was started"
        done = pmd("search", "toy.yaml", *more)
    assert done.code == 2 and says in done.err and "a stage was started" not in done.err, done.err
    written = contents(here).keys() - before.keys()
    assert not [name for name in written if not name.startswith("runs/store/")], written


def test_a_search_that_is_not_there(here: Path, pmd: Pmd) -> None:
    done = pmd("search", "quickstrat")
    assert done.code == 2 and "did you mean 'quickstart'?" in done.err
    assert pmd("search", here).code == 2
    empty = here / "empty.yaml"
    empty.write_text("")
    assert pmd("search", "empty.yaml").code == 2
    empty.write_text("space: [\n")
    assert pmd("search", "empty.yaml").code == 2


def test_no_drawing_of_a_search_and_one_output_at_a_time(here: Path, pmd: Pmd) -> None:
    done = pmd("plan", "toy.yaml", "--dot")
    assert done.code == 2 and "--dot: toy.yaml is a search" in done.err
    assert pmd("plan", "toy.yaml", "--dot", "--json").code == 2


@pytest.mark.parametrize("verb", ["resume", "status", "report"])
@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"format": 1, "search": {}}'])
def test_a_record_that_cannot_be_read(verb: str, content: str, tmp_path: Path, pmd: Pmd) -> None:
    (tmp_path / "search.json").write_text(content)
    done = pmd(verb, tmp_path)
    assert done.code == 2 and "search.json cannot be read" in done.err


@pytest.mark.parametrize("verb", ["status", "report"])
def test_a_storage_that_is_gone(verb: str, here: Path, pmd: Pmd) -> None:
    with without_ray() as ordered:
        ordered.fail = "no luck"
        assert pmd("search", "toy.yaml", "--format", "csv").code == 1
    (here / "runs" / "store").rename(here / "moved")
    done = pmd(verb, "runs/search-toy")
    assert done.code == 2 and "runs/store" in done.err


def test_where_all_trials_fail_the_search_ends_early_and_says_why(here: Path, pmd: Pmd) -> None:
    write_search(here, **{"trials: 4": "trials: 40"})
    with without_ray() as ordered:
        ordered.fail = "the encoder has no legs"
        done = pmd("search", "toy.yaml", "--format", "csv,html", "--json")
    assert done.code == 1
    told = done.json
    assert "all of the first" in told["stopped"] or "same" in told["stopped"], told["stopped"]
    assert "the encoder has no legs" in told["stopped"] and "the encoder has no legs" in done.err
    trials = read_search(here / "runs" / "search-toy").trials
    assert len(trials) < 6 and {trial.state for trial in trials} == {TrialState.FAILED}
    assert all("the encoder has no legs" in trial.reason for trial in trials)
    assert told["best"] == [] and told["confirmed"] == []
    assert "the encoder has no legs" in (here / "runs" / "search-toy" / "report.html").read_text(encoding="utf-8")


@pytest.mark.whole
def test_after_the_cause_is_mended_others_are_tried(here: Path, pmd: Pmd) -> None:
    write_search(here, **{"confirm: {": "confirm: {best: 0, "})
    with without_ray() as ordered:
        ordered.fail = "no luck"
        assert pmd("search", "toy.yaml", "--format", "csv").code == 1
    with without_ray():
        mended = pmd("resume", "runs/search-toy", "--format", "csv")
    assert mended.code == 0, mended.err
    trials = read_search(here / "runs" / "search-toy").trials
    assert [trial.state.value for trial in trials] == ["failed", "failed", "failed", "done"]


@pytest.mark.whole
def test_a_point_outside_the_space_is_tried_and_called_outside(here: Path, pmd: Pmd) -> None:
    with without_ray():
        done = pmd("search", "toy.yaml", "--set", "budget.trials=2", "--set", "confirm.best=0", "--format", "csv")
    assert done.code == 0 and "trial 1 (outside, not in the space)" in done.err
    trial = read_search(here / "runs" / "search-toy").trials[1]
    assert (trial.origin, trial.inside, trial.state) == ("outside", False, TrialState.DONE)
    assert trial.settings == {"optimiser.lr": 2e-3} and trial.params == {}
