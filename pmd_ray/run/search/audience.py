"""The trials that are served: where each stands, the news that wait for it, and why it failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from pmd_ray.run.search.desk import News
from pmd_ray.run.search.follower import Follower
from pmd_ray.run.search.reports import TrialFailed
from pmd_ray.run.search.results import Epoch, LastGrade, StoredGrade
from pmd_ray.run.stage_job import StageJob
from pmd_ray.spec.attempt import FailureKind


class FinishedGrades(Protocol):
    """What trials are told of stored stages (`results.Results`)."""

    def grade(self, key: str) -> StoredGrade:
        """A stored stage."""

    def last(self, key: str) -> LastGrade:
        """What is told of a chain's last grade alone."""


class Audience:
    """All trials of a search, by number."""

    def __init__(self, results: FinishedGrades) -> None:
        self._results = results
        self._trials: dict[int, Follower] = {}
        self._ended: set[int] = set()
        """Released, or failed."""
        self._news: dict[int, list[News]] = defaultdict(list)
        self.reasons: dict[int, str] = {}
        """Why trials failed."""
        self.failures: dict[int, FailureKind] = {}
        """Of the stages that they failed with."""

    def add(self, trial: Follower) -> None:
        """A trial is about to start."""
        self._trials[trial.number] = trial

    def remove(self, number: int) -> None:
        """A trial has ended, however it did."""
        self._trials.pop(number, None)
        self._news.pop(number, None)
        self._ended.add(number)

    def enter(self, number: int, place: int) -> StageJob | None:
        """The stage that a trial goes on to; None where it is there already, or has ended."""
        if number in self._ended:
            return None
        trial = self._trials.get(number)
        if trial is None or place >= len(trial.jobs):
            self.failed(number, f"trial {number} asks for a stage that it was never assigned")
            return None
        return trial.enter(place) if place > trial.place else None

    def heard(self, numbers: Iterable[int], epochs: Iterable[Epoch]) -> None:
        """Tell trials of the epochs of the stage that they are at; each hears what is new to it."""
        epochs = list(epochs)
        for number in numbers:
            self._news[number] += self._trials[number].epochs(epochs)

    def stored(self, numbers: Iterable[int], key: str) -> None:
        """Tell trials that the stage that they are at is done.

        Raises:
            ArtifactBroken: its artifact is; nothing was told.
            UserError: it cannot be read; nothing was told.
        """
        trials = [self._trials[number] for number in numbers]
        if not trials:
            return
        grade = self._results.grade(key)
        last = self._results.last(key) if any(trial.at_last for trial in trials) else None
        for trial in trials:
            self._news[trial.number] += trial.done(grade, last if trial.at_last else None)

    def failed(self, number: int, reason: str, kind: FailureKind | None = None) -> None:
        """Tell a trial that it has failed; with which failure, where a stage of it did."""
        self._ended.add(number)
        if kind is not None:
            self.failures[number] = kind
        self.reasons[number] = reason
        self._news[number].append(TrialFailed(reason))

    def job_of(self, numbers: Iterable[int], key: str | None) -> StageJob | None:
        """A stage of one of those trials; None where no chain of theirs has it."""
        jobs = (job for number in numbers for job in self._trials[number].jobs)
        return next((job for job in jobs if job.key == key), None)

    @property
    def has_news(self) -> bool:
        """Whether anything is to be handed to the desk."""
        return any(self._news.values())

    def take_news(self) -> dict[int, list[News]]:
        """What is to be handed to the desk."""
        news, self._news = self._news, defaultdict(list)
        return {number: items for number, items in news.items() if items}
