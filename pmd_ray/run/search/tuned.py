"""The trials of a round under Ray Tune: one whose process was lost is started again, one whose stage failed is not."""

from __future__ import annotations

import tempfile

from ray import tune

from pmd_ray.run.search.desk import DeskSource, TrialsSide
from pmd_ray.run.search.recorded import RecordedSearch
from pmd_ray.run.search.schedulers import Reasons
from pmd_ray.run.search.trial import NO_CORE, trainable

RESTARTS = 10
"""Of one trial whose process was lost. It trains nothing: it hears again what it has heard, and goes on."""


def run_trials(searcher: RecordedSearch, scheduler: Reasons, desk: TrialsSide, *, name: str, at_once: int) -> None:
    """Run what the searcher asks for until it has nothing more.

    Args:
        searcher: Of the round.
        scheduler: Ends trials early; told why others ended.
        desk: Where trials ask for their stages.
        name: Of the round.
        at_once: Trials at most.
    """
    source = DeskSource(desk)
    with tempfile.TemporaryDirectory(prefix="pmd-tune-") as folder:
        tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, source=source), NO_CORE),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                max_concurrent_trials=at_once,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
            ),
        ).fit()
