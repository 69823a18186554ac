"""CMA-ES whose state follows from the trials: Optuna keeps it as a pickle, and a store must never be unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class ReplayedCmaEs(CmaEsSampler):
    """Optuna's sampler; its optimiser is told of every earlier generation again before each draw (milliseconds)."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna's, which asks `_restore_optimizer` for its state."""
        self._space, self._direction = search_space, study.direction
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        space = _SearchSpaceTransform(self._space, transform_step=True, transform_0_1=True)
        luck = self._cma_rng.rng.get_state()
        optimizer = self._init_optimizer(space, self._direction)
        while True:
            ended = self._get_solution_trials(completed_trials, optimizer.generation)
            if len(ended) < optimizer.population_size:
                # One that Optuna restores is not initialised, which draws a number.
                if self._get_solution_trials(completed_trials, 1):
                    self._cma_rng.rng.set_state(luck)
                return optimizer
            told = ended[: optimizer.population_size]
            optimizer.tell([(self._place(space, one.params), self._cost(one)) for one in told])

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        """Nothing is kept on the trial but its generation."""
        return {}

    def _place(self, space: _SearchSpaceTransform, params: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        return space.transform({name: params[name] for name in self._space})

    def _cost(self, trial: FrozenTrial) -> float:
        value = trial.value
        assert value is not None, "completed trials have a value"
        return value if self._direction is StudyDirection.MINIMIZE else -value
