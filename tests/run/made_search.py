"""A small search and its trials as its rounds describe them; nothing is trained."""

from __future__ import annotations

from typing import Any

from pmd_ray.run.search.rounds import Round, whole_rounds
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import Facts
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState
from pmd_ray.spec.study_record import DatasetRecord

DRAFT: dict[str, Any] = {
    "layers": [4, 3, 1],
    "mask_rates": [0.2, 0.0],
    "dataset": "cldr",
    "optimiser": {"schedule": "wsd", "epochs": 3},
}
SPACE: dict[str, Any] = {
    "masks": {"first": [0.0, 0.1, 0.2], "ratio": [0.5, 1.0]},
    "weights": {"alpha": [0.1, 0.3], "beta": [0.1, 0.2]},
}
LAYERS = {"first": [4], "between": [3, 2], "at_most": 1, "targets": [2, 1]}


def search_of(**changes: Any) -> SearchConfig:
    """Masks and weights under a chain 4-3-1; `changes` replaces parts of the file."""
    plain = {"name": "small", "drafts": (DRAFT,), "space": SPACE, "enqueue": {"paper": False}}
    return SearchConfig.model_validate({**plain, **changes})


def facts_of(chain: ChainConfig) -> Facts:
    """Of any chain."""
    return Facts(dataset="d" * 64, encoder="e" * 64, device="cpu")


def only_round(search: SearchConfig) -> Round:
    """Of a search for one depth."""
    (found,) = whole_rounds(search, facts_of)
    return found


def done(
    each: Round,
    number: int,
    value: float | None,
    settings: dict[str, Any] | None = None,
    *,
    error: float | None = 0.01,
    origin: str = "sampled",
    state: TrialState = TrialState.DONE,
) -> TrialRecord:
    """A trial of a round that lays those settings over the baseline."""
    trial = each.describe(number, {}, origin, settings or {})
    end = {"state": state, "value": value, "standard_error": error, "asked": 2 * number, "told": 2 * number + 1}
    return trial.model_copy(update=end)


def record_of(search: SearchConfig, *trials: TrialRecord) -> SearchRecord:
    """With those trials."""
    graph = DatasetRecord(
        name="cldr", source="cldr", fingerprint="d" * 64, entities=9, relations=2, train=20, valid=4, test=4
    )
    return SearchRecord(
        search=search,
        file="small.yaml",
        storage="nowhere",
        device="cpu",
        dataset=graph,
        encoders={},
        created="2026-11-22T12:00:00+00:00",
        command="pmd search small.yaml",
        trials=trials,
    )
