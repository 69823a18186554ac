"""Leases of a store that is no file system, kept for one cluster by a named actor: two runs train each stage once.

Whoever holds leases says so every few seconds; of a process that is gone they expire. (Runs on other clusters know
nothing of them: there the first manifest wins.)
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import ray

from pmd_ray.run.job_server import HEAD_MARK
from pmd_ray.spec.errors import StorageError
from pmd_ray.spec.keys import digest
from pmd_ray.store.store import Store

NAMESPACE = "pmd_ray"
RENEW_S = 5.0
"""Between two renewals."""
EXPIRES_S = 30.0
"""After the last one; a process may be held up for a while."""
ANSWER_S = 30.0
"""Given to the actor to answer."""
AWAY_S = 90.0
"""That it may be away: until a lost node is given up, which takes half a minute, and it runs again."""
AGAIN_S = 1.0
AWAY = (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError)
HEAD = {HEAD_MARK: 0.001}
"""Where it runs: a cluster that loses its head has lost its runs anyway."""


class Leases:
    """Who holds what; by a clock of its own, which does not jump."""

    def __init__(self, expires_s: float = EXPIRES_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._expires_s, self._clock = expires_s, clock
        self._held: dict[str, tuple[str, float]] = {}

    def acquire(self, key: str, owner: str) -> bool:
        """Give the lease, unless another owner has it."""
        holder = self._holder(key)
        if holder not in (None, owner):
            return False
        self._held[key] = owner, self._clock()
        return True

    def renew(self, keys: Collection[tuple[str, str]]) -> None:
        """Those keys are still held by those owners; an actor that was started again learns of them so."""
        for key, owner in keys:
            self.acquire(key, owner)

    def release(self, key: str, owner: str) -> None:
        """Take it back; no error where the owner does not have it."""
        if self._holder(key) == owner:
            del self._held[key]

    def held(self, key: str) -> bool:
        """Whether anyone has it."""
        return self._holder(key) is not None

    def _holder(self, key: str) -> str | None:
        owner, renewed = self._held.get(key, ("", float("-inf")))
        if self._clock() - renewed > self._expires_s:
            self._held.pop(key, None)
            return None
        return owner


class ClusterLeases:
    """A `LeaseKeeper` that asks the cluster's actor for one store, and renews what this process holds."""

    def __init__(self, location: str, *, expires_s: float = EXPIRES_S, renew_s: float = RENEW_S) -> None:
        self._name = f"leases-{digest(location)[:16]}"
        self._expires_s, self._renew_s = expires_s, renew_s
        self._mine: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._renewing: threading.Thread | None = None

    def acquire(self, key: str, owner: str) -> bool:
        """Ask for a lease; StorageError where the actor does not answer."""
        given = bool(self._asked("acquire", key, owner, away_s=AWAY_S))
        if given:
            with self._lock:
                self._mine.add((key, owner))
                if self._renewing is None:
                    self._renewing = threading.Thread(target=self._renew, name="lease-renewal", daemon=True)
                    self._renewing.start()
        return given

    def release(self, key: str, owner: str) -> None:
        """Give a lease back."""
        # One lock over both: a renewal under way would take it again after it was given back.
        with self._lock, contextlib.suppress(StorageError):  # it expires by itself
            self._mine.discard((key, owner))
            self._asked("release", key, owner)

    def held(self, key: str) -> bool:
        """Whether anyone in this cluster has a lease."""
        return bool(self._asked("held", key, away_s=AWAY_S))

    def _renew(self) -> None:
        while True:
            time.sleep(self._renew_s)
            with self._lock, contextlib.suppress(StorageError):  # asked again in a moment
                if not self._mine:
                    self._renewing = None
                    return
                self._asked("renew", list(self._mine))

    def _asked(self, what: str, *given: Any, away_s: float = 0.0) -> Any:
        """The actor's answer; one that is away is asked again for so long (a repeated question changes nothing)."""
        until = time.monotonic() + away_s
        while True:
            try:
                return ray.get(getattr(self._actor(), what).remote(*given), timeout=ANSWER_S)
            except ray.exceptions.RayError as error:
                if not isinstance(error, AWAY) or time.monotonic() > until:
                    raise StorageError(
                        f"the cluster's lease keeper does not answer ({type(error).__name__}); is the cluster still "
                        "there?"
                    ) from None
            time.sleep(AGAIN_S)

    def _actor(self) -> Any:
        """Found by name each time: one whose node was lost comes back as another one."""
        return (
            ray.remote(num_cpus=0)(Leases)
            .options(
                name=self._name,
                namespace=NAMESPACE,
                get_if_exists=True,
                lifetime="detached",  # it serves runs that begin while this one ends
                max_restarts=-1,
                resources=HEAD,
            )
            .remote(self._expires_s)
        )


def keep_leases(store: Store) -> Store:
    """Give a store that cannot lock files the cluster's leases, where there is a cluster; returns it."""
    if store.local is None and store.lease_keeper is None and ray.is_initialized():
        store.lease_keeper = ClusterLeases(store.location)
    return store
