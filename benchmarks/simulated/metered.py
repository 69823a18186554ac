"""CPU time of the driver: the walk's beside that of the simulated parts, and what Ray's client would take."""

from __future__ import annotations

from time import process_time

from benchmarks.simulated.cluster import Cluster
from benchmarks.simulated.shared_store import SharedStore
from pmd_ray.run.walk import StageJob, StageOutcome

IDLE = 0.003
"""Cores of a connected Ray client that does nothing. These four lines: Ray 2.60 on two busy cores, measured in a driver
of 100 to 2,000 tasks that wait for a place."""
SUBMIT_S, RESULT_S = 1e-3, 0.5e-3
"""CPU seconds to hand over a stage, and to take its outcome."""
WAIT_S, WAIT_EACH_S = 0.7e-3, 4.6e-6
"""CPU seconds of a look at what has ended: in all, and for each running stage."""
EVENT_S, EVENTS = 6e-6, 3.3
"""CPU seconds to read an event from the mailbox and tell it, and events a second of each running stage."""


class Meter:
    """CPU seconds spent in calls that are metered."""

    def __init__(self) -> None:
        self.seconds, self._begun = 0.0, 0.0

    def __enter__(self) -> None:
        self._begun = process_time()

    def __exit__(self, *error: object) -> None:
        self.seconds += process_time() - self._begun


class MeteredPool:
    """A pool of which each call is metered."""

    def __init__(self, pool: Cluster, meter: Meter) -> None:
        self._pool, self._meter = pool, meter
        self.submitted = self._running = 0
        self._looked_at = 0
        """Running stages, summed over all looks."""
        self._turns = 0

    def ray_cpu_s(self, *, lasted_s: float, running: float) -> float:
        """CPU seconds of Ray's client, estimated: for so many virtual seconds, and stages at once."""
        handed = self.submitted * (SUBMIT_S + RESULT_S)
        waited = self._turns * WAIT_S + self._looked_at * WAIT_EACH_S
        return handed + waited + lasted_s * (IDLE + running * EVENTS * EVENT_S)

    def slots(self) -> int:
        """As the pool has it."""
        with self._meter:
            return self._pool.slots()

    def submit(self, job: StageJob) -> None:
        """As the pool does."""
        self.submitted += 1
        self._running += 1
        with self._meter:
            self._pool.submit(job)

    def wait(self, seconds: float) -> list[StageOutcome]:
        """As the pool does."""
        self._turns += 1
        self._looked_at += self._running
        with self._meter:
            ended = self._pool.wait(seconds)
        self._running -= len(ended)
        return ended

    def cancel(self) -> None:
        """As the pool does."""
        with self._meter:
            self._pool.cancel()


class MeteredStore:
    """A store of which each call is metered."""

    def __init__(self, store: SharedStore, meter: Meter) -> None:
        self._store, self._meter = store, meter

    def has(self, key: str) -> bool:
        """As the store has it."""
        with self._meter:
            return self._store.has(key)

    def lease_held(self, key: str) -> bool:
        """As the store has it."""
        with self._meter:
            return self._store.lease_held(key)

    def set_aside(self, key: str, reason: str) -> str:
        """As the store does."""
        with self._meter:
            return self._store.set_aside(key, reason)
