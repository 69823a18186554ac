"""A trial as Ray Tune runs it: passes the reports of its chain on. It trains nothing, and needs neither core nor torch.

Give it no core, or trials take those of their own stages: `tune.with_resources(fn, NO_CORE)`.
"""

from __future__ import annotations

from typing import Any

from ray import tune

from pmd_ray.run.job_server import HEAD_MARK
from pmd_ray.run.search.reports import Source

NUMBER = "number"
"""The one key of a trial's config."""
NO_CORE = {HEAD_MARK: 0.001}
"""Resources of a trial: a place on the head node. Tune refuses a plain `{"CPU": 0}`."""


def trainable(config: dict[str, Any], source: Source) -> None:
    """Report a trial's epochs and grades to Tune.

    Raises:
        TrialFailed: a stage failed; Tune calls the trial an error, with that reason.
    """
    for report in source.reports(config[NUMBER]):
        tune.report(report.to_result())
