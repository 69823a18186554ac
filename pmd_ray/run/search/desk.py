"""The desk between trials and the server of stages: trials say which stage they want, and read what is new for them.

It does nothing of itself. As an actor it is reached from any process; no torch is loaded by it or by a trial.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

import ray

from pmd_ray.run.search.reports import TrialFailed, TrialReport
from pmd_ray.run.search.trial import NO_CORE
from pmd_ray.spec.errors import WorkerError

POLL_S = 0.3
FIRST_POLL_S = 0.05
"""After news: a stage that is stored is answered sooner than one is trained."""
ANSWER_S = 60.0
"""Given to the desk to answer; it is busy for milliseconds."""

News = TrialReport | TrialFailed


class TrialsSide(Protocol):
    """What a trial asks of the desk."""

    def ask(self, number: int, *, place: int, heard: int) -> list[News]:
        """Want the stage at a place of the trial's chain (from 0); what is new after so many news."""


class ServersSide(Protocol):
    """What the server asks of the desk."""

    def exchange(self, news: Mapping[int, list[News]], closed: Collection[int]) -> dict[int, int]:
        """Hand in news of trials, and trials that have ended; the place that each other trial wants."""


class Desk:
    """News and wants of every trial."""

    def __init__(self) -> None:
        self._wanted: dict[int, int] = {}
        self._news: dict[int, list[News]] = defaultdict(list)
        self._closed: set[int] = set()

    def ask(self, number: int, *, place: int, heard: int) -> list[News]:
        """Want the stage at a place of the trial's chain (from 0); what is new after so many news.

        A trial that was started again may ask from the beginning: it wants no less for that.
        """
        if number in self._closed:
            return []
        self._wanted[number] = max(place, self._wanted.get(number, 0))
        return self._news[number][heard:]

    def exchange(self, news: Mapping[int, list[News]], closed: Collection[int]) -> dict[int, int]:
        """Hand in news of trials, and trials that have ended; the place that each other trial wants."""
        for number, items in news.items():
            self._news[number] += items
        self._closed |= set(closed)
        for number in closed:
            self._wanted.pop(number, None)
            self._news.pop(number, None)
        return dict(self._wanted)


class RemoteDesk:
    """A desk as an actor on the head node, without a core; a context that ends it. Copies reach the same desk."""

    def __init__(self) -> None:
        self._actor: Any = ray.remote(num_cpus=0, resources=NO_CORE)(Desk).remote()

    def __enter__(self) -> RemoteDesk:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ray.exceptions.RayError):  # a cluster that is gone has no desk to end
            ray.kill(self._actor)

    def ask(self, number: int, *, place: int, heard: int) -> list[News]:
        """As `Desk.ask`; WorkerError where the desk is gone."""
        news: list[News] = _said(self._actor.ask.remote(number, place=place, heard=heard))
        return news

    def exchange(self, news: Mapping[int, list[News]], closed: Collection[int]) -> dict[int, int]:
        """As `Desk.exchange`; WorkerError where the desk is gone."""
        wanted: dict[int, int] = _said(self._actor.exchange.remote(dict(news), list(closed)))
        return wanted


class DeskSource:
    """The reports of a trial, read from a desk; travels to the trial's process."""

    def __init__(self, desk: TrialsSide, poll_s: float = POLL_S, sleep: Callable[[float], None] = time.sleep) -> None:
        self._desk, self._poll_s, self._sleep = desk, poll_s, sleep

    def reports(self, number: int) -> Iterator[TrialReport]:
        """Ask for the stages of the trial's chain one after another, and pass on what is heard of each.

        The next stage is wanted only when the report of the last one has been taken: a trial that is stopped there
        starts nothing more.

        Raises:
            TrialFailed: a stage failed.
            WorkerError: the desk is gone.
        """
        place = heard = 0
        pause = FIRST_POLL_S
        while True:
            news = self._desk.ask(number, place=place, heard=heard)
            for item in news:
                heard += 1
                if isinstance(item, TrialFailed):
                    raise item
                yield item
                if item.finished:
                    return
                place += item.grade_done
            pause = FIRST_POLL_S if news else min(self._poll_s, 1.5 * pause)
            if not news:
                self._sleep(pause)


def _said(reference: Any) -> Any:
    try:
        return ray.get(reference, timeout=ANSWER_S)
    except ray.exceptions.RayError as error:
        raise WorkerError(
            f"the desk of the search went away ({type(error).__name__}); what was finished is kept, the same command "
            "goes on"
        ) from None
