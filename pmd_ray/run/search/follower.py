"""One trial's way through the stages of its chain: which epochs it has heard, and how a stage's news reads to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pmd_ray.run.search.reports import TrialReport
from pmd_ray.run.search.results import Epoch, LastGrade, StoredGrade
from pmd_ray.run.stage_job import StageJob


class Follower:
    """A trial with its chain; controls, which teach nobody, are no part of it.

    Raises:
        ValueError: there is no stage.
    """

    def __init__(self, number: int, jobs: Sequence[StageJob]) -> None:
        self.number = number
        self.jobs = tuple(job for job in jobs if job.control_of is None)
        if not self.jobs:
            raise ValueError(f"trial {number} has no stage")
        self.place = -1
        """Of the stage that it asked for last, from 0; -1 before the first."""
        self._heard = 0
        """Last epoch of that stage that it was told of."""
        self._seconds = 0.0

    @property
    def job(self) -> StageJob:
        """The stage that it asked for last."""
        return self.jobs[self.place]

    @property
    def at_last(self) -> bool:
        """Whether that is the last one."""
        return self.place == len(self.jobs) - 1

    def enter(self, place: int) -> StageJob:
        """Go on to a stage."""
        self.place, self._heard = place, 0
        return self.job

    def epochs(self, epochs: Iterable[Epoch]) -> list[TrialReport]:
        """Of a stage's epochs, in order, those that the trial has not heard of."""
        new = [epoch for epoch in epochs if epoch.number > self._heard]
        self._heard = max((epoch.number for epoch in new), default=self._heard)
        return [self._report(epoch.number, epoch.value, epoch.rr) for epoch in new]

    def done(self, grade: StoredGrade, last: LastGrade | None) -> list[TrialReport]:
        """The rest of a stage's epochs, then its end; `last` where the chain ends with it."""
        told = self.epochs(grade.epochs)
        self._seconds += grade.seconds
        epochs = self.job.grade.optimiser.epochs
        return [*told, self._report(epochs, grade.value, grade.rr, ends=grade, last=last)]

    def _report(
        self,
        epoch: int,
        value: float,
        rr: tuple[float, ...],
        *,
        ends: StoredGrade | None = None,
        last: LastGrade | None = None,
    ) -> TrialReport:
        before = sum(job.grade.optimiser.epochs for job in self.jobs[: self.place])
        return TrialReport(
            number=self.number,
            epoch=before + epoch,
            grade=self.job.grade.name,
            grade_epoch=epoch,
            target_epoch=epoch if self.at_last else 0,
            value=value,
            rr=rr,
            last=self.at_last and epoch >= self.job.grade.optimiser.epochs,
            grade_done=ends is not None,
            finished=last is not None,
            standard_error=last.standard_error if last else None,
            parameters=ends.parameters if ends and last else None,
            latency_ms=last.latency_ms if last else None,
            seconds=self._seconds if last else None,
        )
