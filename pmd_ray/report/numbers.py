"""Metrics of stages and of lines, each computed once from the ranks."""

from __future__ import annotations

from functools import cache

import numpy as np

from pmd_ray.report.evidence import Evidence
from pmd_ray.report.lines import Line
from pmd_ray.report.measures import METRICS, Floats, per_query, per_triple, spread
from pmd_ray.stats.interval import Interval, interval


class Numbers:
    """What every table takes its figures from."""

    def __init__(self, evidence: Evidence) -> None:
        self._stages = evidence.stages
        self.values = cache(self._values)
        self.interval = cache(self._interval)

    def per_seed(self, line: Line, metric: str) -> Floats:
        """[S] the mean over all queries of each seed that counts."""
        return np.array([self.values(key, metric).mean() for key in line.counted_keys])

    def sd(self, line: Line, metric: str) -> float | None:
        """Standard deviation over seeds, with n - 1; None for fewer than two."""
        return spread(self.per_seed(line, metric))

    def hits(self, key: str) -> Floats:
        """[2 T] 1 for each query whose answer is first."""
        return per_query("hits@1", self._stages[key].ranks.ranks_T2.reshape(-1))

    def of_direction(self, key: str, metric: str, direction: int) -> float:
        """The metric of one direction: 0 forward, 1 backward."""
        return float(per_query(metric, self._stages[key].ranks.ranks_T2[:, direction]).mean())

    def intervals(self, line: Line) -> dict[str, Interval]:
        """Mean and interval of each metric; empty without a seed that counts."""
        return {metric: self.interval(line.counted_keys, metric) for metric in METRICS} if line.seeds else {}

    def _values(self, key: str, metric: str) -> Floats:
        return per_triple(metric, self._stages[key].ranks.ranks_T2)

    def _interval(self, keys: tuple[str, ...], metric: str) -> Interval:
        return interval(np.stack([self.values(key, metric) for key in keys]))
