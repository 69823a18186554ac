"""Samplers by name: seeded by the trial, quiet, and complaints that say what to do."""

from __future__ import annotations

import warnings
from importlib.machinery import ModuleSpec
from typing import Any

import optuna
import pytest

from pmd_ray.run.search import samplers
from pmd_ray.run.search.samplers import draws, sampler_of
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search import StrategyConfig

CLASSES = {"tpe": "TPESampler", "nsga2": "NSGAIISampler", "gp": "GPSampler", "random": "RandomSampler"}


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
    assert draws(config_of("tpe"))
    assert not draws(config_of("grid"))
    assert not draws(config_of("tpe", strategy="grid"))


def test_cmaes_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install cmaes"):
        sampler_of(config_of("cmaes"), seed=0, number=0)


def test_cmaes_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda name: ModuleSpec(name, None))
    assert type(sampler_of(config_of("cmaes"), seed=0, number=0)).__name__ == "CmaEsSampler"
