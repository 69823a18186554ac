"""Searches at toy size: a tiny one of our own, and what to say after `--set` so that a shipped one runs in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pmd_ray.plan.search_draws import drawn_rounds
from pmd_ray.plan.search_studies import identify_search
from pmd_ray.run.search.search import PreparedSearch, prepare_search
from pmd_ray.run.study import StudyOptions
from pmd_ray.spec.places import Places
from pmd_ray.spec.search_file import load_search
from pmd_ray.spec.search_record import SearchRecord
from pmd_ray.store.store import Store
from reference.tiny import write_config
from reference.toy_studies import SMALL

SEARCH = """\
name: tiny
about: Which way leads from three layers to one?
baseline:
  layers: [3, 2, 1]
  dataset: {source: SOURCE}
  encoder: {name: scratch, dropout: 0.0, scratch: {layers: 3, width: 16, heads: 2, vocabulary: 200}}
  mask_rates: [0.2, 0.0]
  optimiser: {epochs: EPOCHS, batch: 8, steps_per_epoch: 3, lr: 1.0e-3, schedule: wsd}
seed: 3
space:
  layers: {first: [3], between: [2], at_most: 1, targets: [1]}
  masks: {first: [0.0, 0.2]}
  weights: {alpha: [0.1, 0.3], beta: [0.1, 0.3]}
  settings:
    students.optimiser.lr: {low: 1.0e-4, high: 2.0e-2, log: true}
search: {strategy: chain, sampler: tpe, pruner: asha, reduction: 2, startup: 3}
enqueue: {default: true, paper: false}
budget: {trials: 8}
confirm: {best: 0}
"""
COMMON = (*SMALL, "mask_rates=[0.2, 0.0]", "layers=[3, 2, 1]", "optimiser.epochs=2", "confirm.best=0")
WAYS = ("space.layers.first=[3]", "space.layers.between=[2]", "space.layers.at_most=1")
OWN: dict[str, tuple[str, ...]] = {
    "quickstart": (
        *WAYS,
        "space.layers.targets=[1]",
        "grades.teacher.optimiser.steps_per_epoch=2",
        "search.startup=3",
        "budget.trials=6",
        "confirm.best=1",
        "confirm.seeds=[1, 2]",
    ),
    "masks": ("search.grace_epochs=1", "search.startup=2", "budget.trials=5"),
    "layers": (*WAYS, "space.layers.targets=[1, 2]", "search.grace_epochs=1", "budget.trials=2"),
    "weights": ("mask_rates=[0.2, 0.1]", "space.weights.alpha=[0.1, 0.3]", "space.weights.beta=[0.1, 0.3]"),
    "full": (
        *WAYS,
        "space.layers.targets=[1, 2]",
        "space.settings.students.optimiser.epochs=[1, 2]",
        "search.grace_epochs=1",
        "search.startup=2",
        "budget.trials=4",
    ),
}
"""By file; every shipped one is here."""


def toy_overrides(search: str, graph: Path) -> list[str]:
    """All that is said after `--set` for a shipped search.

    Args:
        search: Its name.
        graph: A folder in the canonical layout, such as `tiny.write_graph` makes.
    """
    return [f"dataset.source={graph}", *COMMON, *OWN[search]]


def write_search(folder: Path, *, epochs: int = 2, **changes: str) -> Path:
    """A graph and `tiny.yaml` in a folder; `changes` replaces parts of the text."""
    return write_config(folder, "tiny.yaml", SEARCH.replace("EPOCHS", str(epochs)), **changes)


def prepared(
    file: str | Path, store: Store, options: StudyOptions, *overrides: str, at_once: int = 1
) -> PreparedSearch:
    """A search of a file, ready to run."""
    search = load_search(str(file), overrides)
    identities = identify_search(search, drawn_rounds(search), device="cpu")
    return prepare_search(
        search, store, options, identities=identities, file=str(file), overrides=overrides, at_once=at_once
    )


def options_in(folder: Path, *, slots: int | None = 1) -> StudyOptions:
    """Stages on one core each, caches in a folder."""
    return StudyOptions(places=Places(cache=folder / "cache"), device="cpu", slots=slots)


def told(record: SearchRecord) -> list[dict[str, Any]]:
    """Its trials without what depends on the clock."""
    clocks = {"latency_ms", "seconds", "started", "ended"}
    return [trial.model_dump(mode="json", exclude=clocks) for trial in record.trials]
