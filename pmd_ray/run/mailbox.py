"""Carries a stage's events, and a failure that must not be tried again, from a worker to the process that waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pmd_ray.spec.errors import StorageError
from pmd_ray.train.events import Event, StepDone

POLL_S = 0.5
STEPS_EVERY_S = 0.2
"""Steps are told at most this often: a report a step would cost more than a small step."""
ANSWER_S = 5.0
"""Given to the process that holds the letters."""
STEPS_A_SECOND = 200
"""Of all writers together, at most: the one process that takes them in does little else at a thousand."""


class _Letters:
    def __init__(self) -> None:
        self._letters: list[Any] = []
        self._failure: Exception | None = None
        self._leaving = False

    def put(self, event: Any) -> None:
        self._letters.append(event)

    def take(self) -> list[Any]:
        letters, self._letters = self._letters, []
        return letters

    def fail(self, error: Exception, counts_most: bool) -> None:
        if self._failure is None or counts_most:
            self._failure = error

    def leave(self, leaving: bool) -> None:
        self._leaving = leaving

    def is_leaving(self) -> bool:
        return self._leaving

    def failure(self) -> Exception | None:
        return self._failure


class NodeStorageError(StorageError):
    """A disk refuses on another node than the one that is told."""

    def __init__(self, message: str, node: str) -> None:
        super().__init__(message)
        self.node = node

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.node), self.__dict__  # its notes are there


class Mailbox:
    """The reading end: a context that passes events to a listener while it is open.

    Args:
        listen: Told each event.
        leaving: Whether this machine is about to be taken away, which the writing end may ask.
    """

    def __init__(self, listen: Callable[[Any], None], leaving: Callable[[], bool] = lambda: False) -> None:
        self._listen, self._leaving, self._told_leaving = listen, leaving, False
        # Beside us, so that no other node's end takes it away.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._actor: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(_Letters).remote()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def sender(self, *, writers: int = 1) -> Sender:
        """What a worker is given.

        Args:
            writers: Stages that write at once: many of them tell fewer steps each.
        """
        return Sender(self._actor, steps_every_s=max(STEPS_EVERY_S, writers / STEPS_A_SECOND))

    def failure(self) -> Exception | None:
        """What a worker said must not be tried again."""
        told: Exception | None = ray.get(self._actor.failure.remote(), timeout=30)
        return told

    def __enter__(self) -> Mailbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(timeout=30)
        ray.kill(self._actor)

    def _poll(self) -> None:
        while True:
            last = self._closing.wait(POLL_S)
            try:
                letters = ray.get(self._actor.take.remote(), timeout=30)
            except ray.exceptions.RayError:
                return  # The cluster is going away; the stage itself says why.
            for event in letters:
                self._listen(event)
            if last:
                return
            if self._leaving() != self._told_leaving:
                self._told_leaving = not self._told_leaving
                self._actor.leave.remote(self._told_leaving)


class Sender:
    """The writing end, a listener that travels to a worker."""

    def __init__(self, actor: Any, *, steps_every_s: float) -> None:
        self._actor = actor
        self._steps_every_s = steps_every_s
        self._last_step = 0.0

    def __call__(self, event: Event) -> None:
        if self.is_due(event):
            self.put(event)

    def is_due(self, event: Event) -> bool:
        """Whether an event is to be sent: of steps only some are."""
        if isinstance(event, StepDone):
            now = time.monotonic()
            if now - self._last_step < self._steps_every_s:
                return False
            self._last_step = now
        return True

    def put(self, event: Any) -> None:
        """Send an event whatever it is."""
        self._actor.put.remote(event)

    def fail(self, error: Exception, *, counts_most: bool = False) -> None:
        """Say that trying again would not help; returns when that has arrived.

        Args:
            counts_most: Of several workers' errors this one is to be shown.
        """
        ray.get(self._actor.fail.remote(error, counts_most), timeout=60)

    def reader_leaves(self) -> bool:
        """Whether the reading end's machine is about to be taken away; OSError where it does not answer."""
        try:
            leaving: bool = ray.get(self._actor.is_leaving.remote(), timeout=ANSWER_S)
        except ray.exceptions.RayError as error:
            raise OSError(str(error)) from None
        return leaving

    def has_failed(self) -> bool:
        """Whether any worker has said so."""
        return ray.get(self._actor.failure.remote(), timeout=60) is not None
