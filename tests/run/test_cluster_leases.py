"""Leases that a named actor keeps: exclusive, renewed by who lives, expired of who is gone."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.run import cluster_leases
from pmd_ray.run.cluster_leases import ClusterLeases, Leases
from pmd_ray.spec.errors import StorageError

STEPS = st.tuples(
    st.sampled_from(["acquire", "release", "renew", "wait"]), st.sampled_from("ab"), st.sampled_from("xy")
)


@given(st.lists(STEPS, max_size=40))
def test_nobody_is_given_what_another_holds(steps: list[tuple[str, str, str]]) -> None:
    """Against a plain book of who was given what and when it was last said to be held."""
    now = [0.0]
    leases, book = Leases(expires_s=10.0, clock=lambda: now[0]), dict[str, tuple[str, float]]()

    def holder(key: str) -> str | None:
        owner, since = book.get(key, ("", -99.0))
        return owner if now[0] - since <= 10.0 else None

    for what, key, owner in steps:
        match what:
            case "acquire":
                free = holder(key) in (None, owner)
                assert leases.acquire(key, owner) is free
                if free:
                    book[key] = owner, now[0]
            case "release":
                leases.release(key, owner)
                if holder(key) == owner:
                    del book[key]
            case "renew":
                leases.renew([(key, owner)])
                if holder(key) in (None, owner):
                    book[key] = owner, now[0]
            case _:
                now[0] += 6.0
        assert all(leases.held(one) is (holder(one) is not None) for one in "ab")


@pytest.mark.ray
def test_two_runs_of_a_cluster_share_the_leases_and_one_that_dies_loses_its_own(ray_running: Any) -> None:
    import ray

    location = f"s3://bucket/{time.time_ns()}"
    here = ClusterLeases(location, expires_s=3.0, renew_s=0.3)

    @ray.remote(num_cpus=0)
    class Other:
        def __init__(self) -> None:
            self._leases = ClusterLeases(location, expires_s=3.0, renew_s=0.3)

        def acquire(self, key: str) -> bool:
            return self._leases.acquire(key, "other")

        def held(self, key: str) -> bool:
            return self._leases.held(key)

    other = Other.remote()
    assert here.acquire("one", "here")
    assert not ray.get(other.acquire.remote("one")) and ray.get(other.held.remote("one"))
    assert ray.get(other.acquire.remote("two")) and not here.acquire("two", "here")
    time.sleep(4.0)  # longer than a lease lasts that nobody renews
    assert here.held("one") and here.held("two")
    here.release("one", "here")
    assert ray.get(other.acquire.remote("one"))
    ray.kill(other)
    deadline = time.monotonic() + 20.0
    while here.held("two") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert here.acquire("two", "here")
    here.release("two", "here")


@pytest.mark.ray
def test_a_keeper_that_is_lost_is_waited_for_and_learns_again_who_holds_what(ray_running: Any) -> None:
    import ray

    here = ClusterLeases(f"s3://bucket/{time.time_ns()}", expires_s=30.0, renew_s=0.3)
    assert here.acquire("one", "here")
    ray.kill(here._actor(), no_restart=False)
    assert here.held("two") is False
    deadline = time.monotonic() + 20.0
    while not here.held("one") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert here.held("one")
    here.release("one", "here")


def test_a_keeper_that_stays_away_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    asked: list[str] = []

    class Away:
        def __getattr__(self, what: str) -> Any:
            asked.append(what)
            raise ray.exceptions.ActorUnavailableError("away", b"1" * 16)

    monkeypatch.setattr(ClusterLeases, "_actor", lambda self: Away())
    monkeypatch.setattr(cluster_leases, "AWAY_S", 0.5)
    monkeypatch.setattr(cluster_leases, "AGAIN_S", 0.1)
    here = ClusterLeases("s3://bucket/x")
    for ask in (lambda: here.held("one"), lambda: here.acquire("one", "here")):
        asked.clear()
        with pytest.raises(StorageError, match="lease keeper does not answer"):
            ask()
        assert len(asked) > 1
    asked.clear()
    here.release("one", "here")  # it expires by itself: nobody waits for that
    assert asked == ["release"]
