"""Importance: what decides the value comes first, conditional parameters too; with few trials nothing is said."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution, distribution_to_json
from report.search_made import make_record

from pmd_ray.report.search_importance import importance_sheet, importances, study_of, too_few
from pmd_ray.report.search_trials import Round, rounds_of
from pmd_ray.spec.search_record import TrialRecord, TrialState

UNIT = distribution_to_json(FloatDistribution(0.0, 1.0))


def drawn(count: int) -> Round:
    """`deep` is there where `switch` is high, and decides the value there; `idle` decides nothing."""
    trials = []
    for number in range(count):
        luck = np.random.default_rng(number)
        params: dict[str, Any] = {"switch": float(luck.random()), "idle": float(luck.random())}
        value = 0.1 * params["switch"]
        if params["switch"] > 0.3:
            params["deep"] = float(luck.random())
            value += params["deep"]
        trials.append(
            TrialRecord(
                number=number, round="layers-2", origin="sampled", layers=(6, 2), mask_rates=(0.0,), stages=(),
                params=params, distributions=dict.fromkeys(params, UNIT), state=TrialState.DONE, value=value,
            )
        )  # fmt: skip
    return Round(name="layers-2", trials=tuple(trials), whole=True)


def test_what_decides_comes_first_though_it_is_conditional() -> None:
    found = importances([drawn(60)])
    assert found[0].parameter == "deep" and found[-1].parameter == "idle"
    assert sum(one.share for one in found) == pytest.approx(1.0)
    assert found[0].trials < 60 and found[-1].trials == 60


def test_few_trials_are_told_instead() -> None:
    rounds = [drawn(7), drawn(8)]
    assert {one.round for one in importances(rounds)} == {"2 layers"} and importances(rounds[:1]) == []
    assert too_few(rounds) == ["2 layers: 7 finished trials of the space, too few for importance (at least 8)."]


def test_one_name_for_a_setting_drawn_in_two_ways() -> None:
    one = drawn(20)
    split = tuple(
        trial.model_copy(
            update={
                "params": {("idle|a=1" if k == "idle" and trial.number % 2 else k): v for k, v in trial.params.items()},
                "distributions": {
                    ("idle|a=1" if k == "idle" and trial.number % 2 else k): v for k, v in trial.distributions.items()
                },
            }
        )
        for trial in one.trials
    )
    names = importance_sheet(importances([Round(name="layers-2", trials=split, whole=True)])).column("parameter")
    assert sorted(map(str, names)) == ["deep", "idle", "switch"]


def test_points_outside_and_pruned_ones_are_no_part_of_the_study_and_nothing_is_said_aloud(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    rounds = rounds_of(make_record())
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        importances(rounds)
        shallow = study_of(rounds[1])
    assert [trial.value for trial in shallow.trials] == [trial.value for trial in rounds[1].drawn]
    assert 3 not in {trial.number for trial in rounds[1].drawn} and len(shallow.trials) == 10
    assert caplog.records == [] and capfd.readouterr().err == ""
