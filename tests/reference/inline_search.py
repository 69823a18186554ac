"""Searches without Ray: trials one after another, their stages trained in this process; and a toy to search."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from pmd_ray.run.stage_call import StudySetting, train_job
from pmd_ray.run.stage_job import Ending, StageOutcome
from pmd_ray.run.study_events import StageEvent, StudyListener
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.train.costs import REPEATS
from reference.inline_pool import InlinePool
from reference.tiny import write_config

SEARCH = """\
about: Whether masks help forty entities.
baseline:
  layers: [2, 2, 1]
  dataset: {source: SOURCE}
  encoder: {name: scratch, dropout: 0.0, scratch: {layers: 2, width: 32, heads: 4, vocabulary: 400}}
  mask_rates: [0.2, 0.0]
  optimiser: {epochs: 2, steps_per_epoch: 2, batch: 16, lr: 1.0e-3, schedule: wsd}
space:
  masks: {first: [0.0, 0.1, 0.2, 0.3], ratio: [0.5]}
  weights: {alpha: [0.1, 0.3], beta: [0.1, 0.2]}
search: {sampler: random}
enqueue: {paper: false, points: {outside: {optimiser.lr: 2.0e-3}}}
budget: {trials: 4}
confirm: {seeds: [1, 2]}
"""
TRIALS = 4


def write_search(folder: Path, name: str = "toy", **changes: str) -> Path:
    """A graph and a search over it, in a folder; `changes` replaces parts of the text."""
    return write_config(folder, f"{name}.yaml", SEARCH, **changes)


@dataclass
class Ordered:
    """What shall happen on the way."""

    interrupt_at: int | None = None
    """Trial at whose first report Ctrl-C is pressed."""
    fail: str | None = None
    """How every stage fails."""


@contextlib.contextmanager
def without_ray() -> Iterator[Ordered]:
    """Tune's loop, the pool of workers, the desk and the cluster are replaced by plain calls in this process."""
    ordered = Ordered()
    with contextlib.ExitStack() as stack:
        for place, stand_in in {
            "ray.tune.Tuner": partial(_Tuner, ordered),
            "ray.tune.with_parameters": partial,
            "ray.tune.with_resources": lambda trainable, resources: trainable,
            "pmd_ray.run.cluster.cluster_for": lambda *_, **__: contextlib.nullcontext(),
            "pmd_ray.run.ray_pool.RayPool": partial(_Pool, ordered),
            "pmd_ray.run.search.desk.RemoteDesk": _desk,
        }.items():
            stack.enter_context(patch(place, stand_in))
        stack.enter_context(patch.dict(REPEATS, dict.fromkeys(REPEATS, 1)))  # nobody reads how long a toy takes
        yield ordered


class _Pool(InlinePool):
    """As a `RayPool`, telling of epochs."""

    def __init__(self, ordered: Ordered, setting: StudySetting, *, listen: StudyListener, **_: Any) -> None:
        super().__init__(setting)
        self._ordered, self._listen = ordered, listen

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def wait(self, seconds: float) -> list[StageOutcome]:
        if not self._jobs:
            return []
        job = self._jobs.popleft()
        if self._ordered.fail is not None:
            return [StageOutcome(key=job.key, ending=Ending.FAILED, kind=FailureKind.BUG, message=self._ordered.fail)]
        return [train_job(job, self._setting, lambda event: self._listen(StageEvent(job.key, event)))]

    def cancel_one(self, key: str) -> None:
        self._jobs: Any = type(self._jobs)(job for job in self._jobs if job.key != key)


def _desk() -> Any:
    from pmd_ray.run.search.desk import Desk

    return contextlib.nullcontext(Desk())


class _Stopped(Exception):
    """The scheduler has ended a trial."""


class _Tuner:
    """As `Tuner`: asks the searcher, runs the trainable, tells scheduler and searcher; one trial at a time."""

    def __init__(self, ordered: Ordered, trainable: Callable[..., None], *, tune_config: Any, run_config: Any) -> None:
        self._ordered, self._trainable = ordered, trainable
        self._searcher, self._scheduler = tune_config.search_alg, tune_config.scheduler

    def fit(self) -> None:
        from ray.tune.search import Searcher

        place = 0
        while (config := self._searcher.suggest(f"trial {place}")) != Searcher.FINISHED:
            self._run(SimpleNamespace(trial_id=f"trial {place}", config=config))
            place += 1

    def _run(self, trial: SimpleNamespace) -> None:
        from pmd_ray.run.search.reports import TrialFailed

        last: dict[str, Any] = {}

        def report(result: dict[str, Any]) -> None:
            if self._ordered.interrupt_at == trial.config["number"]:
                raise KeyboardInterrupt
            last.clear()
            last.update(result)
            if self._scheduler.on_trial_result(None, trial, result) == "STOP":
                raise _Stopped
            self._searcher.on_trial_result(trial.trial_id, result)

        self._scheduler.on_trial_add(None, trial)
        try:
            with patch("ray.tune.report", report):
                self._trainable(trial.config)
        except TrialFailed:
            self._searcher.on_trial_complete(trial.trial_id, error=True)
        except _Stopped:
            self._searcher.on_trial_complete(trial.trial_id, result=last)
        else:
            self._searcher.on_trial_complete(trial.trial_id, result=last)
