"""The best value at an end of its range is a warning, unless the range cannot go on there."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from report.search_made import make_record

from pmd_ray.report.search_ranges import Edge, edges, ranges_of
from pmd_ray.report.search_trials import rounds_of
from pmd_ray.spec.search_record import SearchRecord, TrialState


def one_trial(name: str, value: Any, distribution: BaseDistribution, **given: Any) -> SearchRecord:
    record = make_record(trials=2, **given)
    changes = {
        "params": {name: value},
        "distributions": {name: distribution_to_json(distribution)},
        "state": TrialState.DONE,
        "value": 0.9,
        "alphas": (0.5,),
        "betas": (0.4,),
    }
    return record.model_copy(update={"trials": (record.trials[0].model_copy(update=changes),)})


def found(record: SearchRecord) -> list[Edge]:
    return edges(record, rounds_of(record))


GRID = {"space": {"weights": {"form": "grid"}}}
LR = FloatDistribution(1e-5, 1e-3, log=True)


@pytest.mark.parametrize(
    ("name", "value", "distribution", "end"),
    [
        ("optimiser.lr", 1e-3, LR, "upper"),
        ("optimiser.lr", 1.05e-5, LR, "lower"),
        ("optimiser.lr", 1e-4, LR, ""),
        ("optimiser.epochs", 20, IntDistribution(5, 20), "upper"),
        ("optimiser.epochs", 19, IntDistribution(5, 20), ""),
        ("optimiser.epochs", 1, IntDistribution(1, 20), ""),
        ("mask.first", 0.0, FloatDistribution(0.0, 0.4, step=0.1), ""),
        ("mask.first", 0.4, FloatDistribution(0.0, 0.4, step=0.1), "upper"),
        ("mask.first", 0.5, FloatDistribution(0.1, 0.5, step=0.1), ""),
        ("mask.first", 0.1, FloatDistribution(0.1, 0.5, step=0.1), "lower"),
        ("mask.ratio", 1.0, CategoricalDistribution((0.25, 0.5, 1.0)), ""),
        ("mask.ratio", 0.25, CategoricalDistribution((0.25, 0.5, 1.0)), "lower"),
        ("layers", "6-2", CategoricalDistribution(("6-2", "6-4-2")), ""),
        ("loss.ce.self_negatives", True, CategoricalDistribution((False, True)), ""),
        ("alpha", 3.0, FloatDistribution(0.01, 3.0, log=True), "upper"),
    ],
)
def test_an_end_of_the_range(name: str, value: Any, distribution: BaseDistribution, end: str) -> None:
    warnings = found(one_trial(name, value, distribution))
    assert [("upper" if edge.upper else "lower") for edge in warnings] == ([end] if end else [])
    assert all(name in edge.text and f"the {end} end" in edge.text for edge in warnings)


def test_a_weight_that_the_other_one_holds_back_is_no_warning() -> None:
    betas = CategoricalDistribution((0.1, 0.2, 0.3, 0.4))
    assert found(one_trial("beta|alpha=0.5", 0.4, betas, **GRID)) == []
    assert [edge.upper for edge in found(one_trial("beta|alpha=0.5", 0.1, betas, **GRID))] == [False]


def test_only_the_best_of_each_round_is_looked_at() -> None:
    record = make_record()
    assert {edge.trial for edge in found(record)} == {4}
    assert {edge.parameter for edge in found(record)} == {"mask.first", "optimiser.lr"}


def test_ranges_of_several_trials_are_taken_together() -> None:
    low = one_trial("beta|alpha=0.5", 0.1, CategoricalDistribution((0.1, 0.2, 0.3))).trials
    high = one_trial("beta", 0.5, CategoricalDistribution((0.1, 0.3, 0.5))).trials
    together = ranges_of((*low, *high), "beta")
    assert together is not None and (together.low, together.high) == (0.1, 0.5)
    assert ranges_of(low, "alpha") is None
