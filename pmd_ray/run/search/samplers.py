"""Optuna's samplers by name, a fresh one for each draw: a draw depends on the study's trials and its seed alone."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from pmd_ray.spec.streams import stream_key

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from pmd_ray.spec.search import StrategyConfig

SMALLEST_POPULATION = 4
"""Of NSGA-II: below it, crossover has hardly anybody to choose from."""


def sampler_of(config: StrategyConfig, *, seed: int, number: int, attempt: int = 0) -> BaseSampler:
    """The sampler of one draw; quietens Optuna.

    Args:
        config: Names the sampler and its start-up.
        seed: Of the search.
        number: Of the trial, over the whole search.
        attempt: Draws for this trial that repeated an earlier one.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    drawn_from = stream_key(seed, "sampler", number, attempt) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match "random" if config.strategy == "random" else config.sampler:
            case "tpe":
                return optuna.samplers.TPESampler(
                    seed=drawn_from,
                    multivariate=True,
                    group=True,
                    constant_liar=True,
                    n_startup_trials=config.startup,
                )
            case "nsga2":
                # Optuna's 50 would leave one generation to a search of 60 trials.
                size = max(SMALLEST_POPULATION, config.startup)
                return optuna.samplers.NSGAIISampler(seed=drawn_from, population_size=size)
            case "gp":
                return optuna.samplers.GPSampler(
                    seed=drawn_from, n_startup_trials=config.startup, warn_independent_sampling=False
                )
            case "cmaes":
                from pmd_ray.run.search.cma_es import ReplayedCmaEs

                return ReplayedCmaEs(seed=drawn_from, n_startup_trials=config.startup, warn_independent_sampling=False)
            case "random" | "grid":
                return optuna.samplers.RandomSampler(seed=drawn_from)
