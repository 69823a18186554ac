"""Which parameters decide whether a trial is among the best: Optuna's PED-ANOVA, for each round."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pmd_ray.report.search_trials import Round, base_of
from pmd_ray.report.sheet import Cell, Sheet, number, sheet

if TYPE_CHECKING:
    from optuna.study import Study

FEWEST = 8
"""Trials that are done, below which importance says nothing."""
TOP = 0.1
"""Share of the trials whose points are compared with all; Optuna's own."""
TOP_AT_LEAST = 5
"""Of them, as Optuna advises."""
SPREAD = 2
"""Trials with a parameter, below which it is left out."""
COLUMNS = ("round", "parameter", "importance", "trials")


@dataclass(frozen=True, kw_only=True)
class Importance:
    """One parameter of one round."""

    round: str
    parameter: str
    share: float
    """Of the importance of all parameters, in [0, 1]."""
    trials: int
    """That drew it."""


def importances(rounds: Iterable[Round]) -> list[Importance]:
    """Of every round with enough trials, the most important parameter first."""
    return [found for one in rounds for found in _importances(one)]


def too_few(rounds: Iterable[Round]) -> list[str]:
    """What is said of the rounds that are left out."""
    return [
        f"{one.title}: {len(one.drawn)} finished trials of the space, too few for importance (at least {FEWEST})."
        for one in rounds
        if len(one.drawn) < FEWEST
    ]


def importance_sheet(found: Iterable[Importance]) -> Sheet:
    """Every figure with every digit."""
    rows: list[dict[str, Cell]] = [
        {"round": one.round, "parameter": one.parameter, "importance": one.share, "trials": one.trials} for one in found
    ]
    return sheet("importance", COLUMNS, rows, texts=("round", "parameter"), caption=caption())


def importance_shown(found: Iterable[Importance]) -> Sheet:
    """The same for reading."""
    rows: list[dict[str, Cell]] = [
        {
            "round": one.round,
            "parameter": one.parameter,
            "importance": number(one.share, 2),
            "trials": str(one.trials),
        }
        for one in found
    ]
    return sheet("importance", COLUMNS, rows, texts=("round", "parameter"), caption=caption())


def caption() -> str:
    """How to read it."""
    return (
        "PED-ANOVA (Watanabe et al. 2023, conditional parameters after its 2026 extension): how much the points of the "
        f"best trials (a tenth, at least {TOP_AT_LEAST}) differ from those of all trials, parameter by parameter, as a "
        "share. With few trials the order is rough. Points outside the space are left out."
    )


def _importances(one: Round) -> list[Importance]:
    count = len(one.drawn)
    drawn = {name: sum(name in trial.distributions for trial in one.drawn) for name in _names(one)}
    names = [name for name, trials in drawn.items() if trials >= SPREAD]
    if count < FEWEST or not names:
        return []
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with quiet():
        evaluator = PedAnovaImportanceEvaluator(target_quantile=min(max(TOP, TOP_AT_LEAST / count), 0.75))
        shares = get_param_importances(study_of(one), evaluator=evaluator, params=names)
    together: dict[str, float] = {}
    for name, share in shares.items():
        together[base_of(name)] = together.get(base_of(name), 0.0) + float(share)
    ordered = sorted(together.items(), key=lambda pair: (-round(pair[1], 12), pair[0]))
    return [
        Importance(
            round=one.title,
            parameter=name,
            share=share,
            trials=sum(any(base_of(drawn) == name for drawn in trial.params) for trial in one.drawn),
        )
        for name, share in ordered
    ]


def study_of(one: Round) -> Study:
    """The round's done trials inside the space as an Optuna study in memory; its value is the metric alone."""
    import optuna
    from optuna.distributions import json_to_distribution

    with quiet():
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        for trial in one.drawn:
            distributions = {name: json_to_distribution(text) for name, text in trial.distributions.items()}
            params = {name: trial.params[name] for name in distributions}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value))
    return study


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Optuna logs and warns of: small regimes, which the caption tells."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _names(one: Round) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for trial in one.drawn for name in trial.distributions))
