"""Every shipped search runs at toy size: each of its settings reaches a training, and a best chain is found."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from reference import tiny
from reference.inline_pool import run_inline
from reference.inline_search import without_ray
from reference.toy_searches import OWN, options_in, prepared, toy_overrides

from pmd_ray.report.search_report import write_search_report
from pmd_ray.report.search_sharing import sharing
from pmd_ray.run.search.confirm import candidates, confirming_study
from pmd_ray.run.search.search import PreparedSearch, Searched, run_search
from pmd_ray.run.study import prepare
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.draw import base_name
from pmd_ray.spec.search_checks import parameter_names
from pmd_ray.spec.search_file import shipped_searches
from pmd_ray.spec.search_record import TrialState
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
