"""Samplers by name: seeded by the trial, quiet, and complaints that say what to do."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest

from pmd_ray.run.search.cma_es import ReplayedCmaEs
from pmd_ray.run.search.samplers import sampler_of
from pmd_ray.spec.search import StrategyConfig

CLASSES = {
    "tpe": "TPESampler",
    "nsga2": "NSGAIISampler",
    "gp": "GPSampler",
    "cmaes": "ReplayedCmaEs",
    "random": "RandomSampler",
}


def config_of(sampler: str, **more: Any) -> StrategyConfig:
    return StrategyConfig.model_validate({"sampler": sampler, **more})


def first_draw(config: StrategyConfig, **by: int) -> float:
    study = optuna.create_study(sampler=sampler_of(config, **by))
    return study.ask().suggest_float("x", 0.0, 1.0)


@pytest.mark.parametrize("sampler", CLASSES)
def test_by_name_and_without_a_word(sampler: str, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = sampler_of(config_of(sampler), seed=0, number=0)
    assert type(made).__name__ == CLASSES[sampler]
    optuna.create_study(sampler=made).ask().suggest_float("x", 0.0, 1.0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sampler", CLASSES)
def test_seed_number_and_attempt_decide(sampler: str) -> None:
    config = config_of(sampler)
    found = [
        first_draw(config, seed=seed, number=number, attempt=attempt)
        for seed in (0, 1)
        for number in (0, 1)
        for attempt in (0, 1)
    ]
    assert len(set(found)) == 8
    assert first_draw(config, seed=1, number=0, attempt=1) == found[5]


def test_strategies_that_need_no_sampler() -> None:
    assert type(sampler_of(config_of("tpe", strategy="random"), seed=0, number=0)).__name__ == "RandomSampler"
    assert not config_of("tpe").is_grid
    assert config_of("grid").is_grid
    assert config_of("tpe", strategy="grid").is_grid


def numbers(sampler: optuna.samplers.BaseSampler, trials: int = 40) -> optuna.Study:
    """A sequential study of three numbers; each draw has its own seed, as in a search."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for number in range(trials):
        sampler._cma_rng.rng.seed(number)  # type: ignore[attr-defined]
        sampler._independent_sampler.reseed_rng = lambda: None  # type: ignore[attr-defined]
        trial = study.ask()
        x, y, z = (trial.suggest_float(name, -1.0, 1.0) for name in "xyz")
        study.tell(trial, -((x - 0.3) ** 2) - 2.0 * (y + 0.2) ** 2 - (z - x) ** 2)
    return study


def test_cmaes_without_pickles_draws_what_optunas_own_draws() -> None:
    """Several generations long, so that its state is told again and again."""
    given: dict[str, Any] = {"seed": 5, "n_startup_trials": 4, "warn_independent_sampling": False}
    ours, theirs = numbers(ReplayedCmaEs(**given)), numbers(optuna.samplers.CmaEsSampler(**given))
    for one, other in zip(ours.trials, theirs.trials, strict=True):
        assert one.params == pytest.approx(other.params, abs=1e-9)  # told anew, sums differ in their last digit
    generations = {trial.system_attrs.get("cma:generation", -1) for trial in ours.trials}
    assert len(generations) > 3
    assert any("cma:optimizer:0" in trial.system_attrs for trial in theirs.trials), "else the test shows nothing"
    assert not any(name.startswith("cma:optimizer") for trial in ours.trials for name in trial.system_attrs)
