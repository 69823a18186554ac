"""Every shipped search runs at toy size: each of its settings reaches a training, and a best chain is found."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from reference import tiny
from reference.inline_pool import run_inline
from reference.inline_search import without_ray
from reference.toy_searches import OWN, options_in, prepared, toy_overrides, write_search

from pmd_ray.report.search_report import write_search_report
from pmd_ray.report.search_sharing import sharing
from pmd_ray.run.search.confirm import candidates, confirming_study
from pmd_ray.run.search.rebuilt import replayed
from pmd_ray.run.search.rounds import whole_rounds
from pmd_ray.run.search.search import PreparedSearch, Searched, run_search
from pmd_ray.run.study import prepare
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.draw import base_name
from pmd_ray.spec.search_checks import parameter_names
from pmd_ray.spec.search_file import shipped_searches
from pmd_ray.spec.search_record import SAMPLED, TrialState
from pmd_ray.store.store import Store

pytestmark = pytest.mark.whole

QUICK = "quickstart"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph and a store that all searches share."""
    place = tmp_path_factory.mktemp("toys")
    tiny.write_graph(place / "graph")
    return place


def run_toy(name: str, folder: Path) -> tuple[PreparedSearch, Searched]:
    ready = prepared(name, Store.open(folder / "store"), options_in(folder), *toy_overrides(name, folder / "graph"))
    with without_ray():
        searched = run_search(ready, folder / name, options_in(folder))
    trials = searched.record.trials
    assert trials and {trial.state for trial in trials} <= {TrialState.DONE, TrialState.PRUNED}
    assert trials[0].origin == "default" and trials[0].state is TrialState.DONE
    assert searched.record.stopped and "has been tried" in searched.record.stopped
    assert sharing(searched.record, ready.store).complaints == ()
    return ready, searched


def test_every_shipped_search_has_a_toy() -> None:
    assert sorted(OWN) == shipped_searches()


def test_a_toy_of_the_quickstart_is_confirmed_and_told(folder: Path) -> None:
    ready, searched = run_toy(QUICK, folder)
    assert len(searched.record.trials) == 6 and candidates(searched.record)
    study = confirming_study(searched.record)
    assert study is not None and study.seeds == (1, 2)
    walked, tree = run_inline(study, ready.store, folder / "cache")
    assert walked.done == set(tree.stages) and not walked.failed
    confirmed = prepare(study, ready.store, options_in(folder), file=QUICK).record
    out = folder / QUICK
    written = write_search_report(
        searched.record, ready.store, out, formats=["csv", "html", "yaml"], confirmed=confirmed
    )
    assert len(written.confirmed) == sum(v.name.startswith("trial-") for v in study.variants)
    assert all("2 seeds" in sentence for sentence in written.confirmed)
    assert "</html>" in (out / "report.html").read_text(encoding="utf-8")
    found = load_chain(str(out / "best.yaml"))
    best = max((t for t in searched.record.trials if t.value is not None), key=lambda t: (t.value or 0.0, -t.number))
    assert tuple(grade.layers for grade in found.grades) == best.layers
    assert {grade.optimiser.schedule for grade in found.grades} == {"linear"}
    with (out / "tables" / "trials.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(searched.record.trials)


def run_own(folder: Path, *overrides: str) -> tuple[PreparedSearch, Searched]:
    """A search of our own, to its end."""
    ready = prepared(write_search(folder), Store.open(folder / "store"), options_in(folder), *overrides)
    with without_ray():
        return ready, run_search(ready, folder / ready.record.search.name, options_in(folder))


def test_several_objectives_find_a_front_over_all_depths(tmp_path: Path) -> None:
    ready, searched = run_own(
        tmp_path,
        "space.layers={first: [3], between: [2], targets: [2, 1]}",
        "search={sampler: nsga2, startup: 4, objectives: [metric, parameters, cost]}",
        "optimiser.epochs=1",
        "budget.trials=6",
    )
    trials = searched.record.trials
    assert {(trial.round, trial.state) for trial in trials} == {("chain", TrialState.DONE)} and len(trials) == 6
    assert {trial.layers[-1] for trial in trials} == {2, 1}
    assert all(trial.values == (trial.value, trial.parameters, trial.seconds) for trial in trials)
    written = write_search_report(searched.record, ready.store, tmp_path / "out", formats=["csv", "yaml"])
    assert {"best.yaml", "best-2.yaml", "best-1.yaml"} <= {path.name for path in written.files}
    with (tmp_path / "out" / "tables" / "pareto.csv").open(encoding="utf-8", newline="") as file:
        fronts = {row["cost"] for row in csv.DictReader(file)}
    assert {"parameters, millions", "training, CPU-hours"} <= fronts


def test_a_warm_search_knows_what_another_one_found(tmp_path: Path) -> None:
    one_step = ("search.pruner=none", "optimiser.epochs=1", "optimiser.steps_per_epoch=1", "budget.trials=4")
    _, cold = run_own(tmp_path, *one_step)
    ready, knowing = run_own(tmp_path, *one_step, "name=knowing", "search.warm_start=true", "budget.trials=2")
    assert [trial.params for trial in knowing.record.warm] == [trial.params for trial in cold.record.trials]
    (each,) = whole_rounds(ready.record.search, ready.identities.facts_of)
    config, seed = ready.record.search.search, ready.record.search.seed
    drawn = {trial.number: trial.params for trial in knowing.record.trials if trial.origin == SAMPLED}
    with_it = replayed(knowing.record.trials, config=config, seed=seed, draw=each.draw, warm=knowing.record.warm)
    without = replayed(knowing.record.trials, config=config, seed=seed, draw=each.draw)
    assert with_it == drawn and without != drawn, "the model is there from the first draw"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(OWN) - {QUICK}))
def test_every_other_shipped_search_runs_at_toy_size(name: str, folder: Path) -> None:
    ready, searched = run_toy(name, folder)
    search, trials = searched.record.search, searched.record.trials
    chosen = candidates(searched.record)
    assert trials[0].layers[-1] in {trial.layers[-1] for trial in chosen} or not chosen
    drawn = {base_name(key) for trial in trials for key in trial.params}
    assert drawn and drawn <= set(parameter_names(search))
    if name == "weights":  # a grid: every point, the default among them
        assert {(trial.alphas[-1], trial.betas[-1]) for trial in trials} >= {(0.1, 0.1), (0.1, 0.3), (0.3, 0.1)}
    if search.space.layers is not None:
        assert {trial.layers[-1] for trial in trials} == set(search.space.layers.targets)
    written = write_search_report(searched.record, ready.store, folder / name, formats=["csv"])
    assert written.table.rows
