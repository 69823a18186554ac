"""A job is followed to its true result: every line of its log once, whatever happens to the connection."""

from __future__ import annotations

import pytest
from reference.pretend_cluster import PretendCluster

from pmd_ray.run import jobs
from pmd_ray.run.job_server import Job
from pmd_ray.run.jobs import LostSight, find_job, follow, result_of, result_text
from pmd_ray.spec.errors import UserError


def job(
    state: str = "SUCCEEDED", *, id: str = "a", exit_code: int | None = None, started: float = 1.0, **more: str
) -> Job:
    return Job(id=id, state=state, entrypoint="pmd", started=started, ended=3.0, exit_code=exit_code, metadata=more)


def followed(cluster: PretendCluster) -> tuple[str, Job]:
    cluster.known.setdefault("a", job())
    told: list[str] = []
    ended = follow(cluster, "a", told.append, look_every=0.02)
    return "".join(told), ended


def test_each_line_comes_once_and_the_end_is_told() -> None:
    assert followed(PretendCluster()) == ("one\ntwo\n", job())


@pytest.mark.parametrize("at", [0, 1])
def test_a_connection_that_breaks_is_made_again(at: int) -> None:
    assert followed(PretendCluster(breaks_at=at))[0] == "one\ntwo\n"


def test_a_log_that_never_ends_ends_with_its_job() -> None:
    assert followed(PretendCluster(hangs=True))[0] == "one\ntwo\n"


def test_a_cluster_that_is_silent_for_a_moment_is_asked_again() -> None:
    assert followed(PretendCluster(silent=3)) == ("one\ntwo\n", job())


def test_one_that_stays_silent_is_lost_sight_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOST_AFTER_S", 0.01)
    with pytest.raises(LostSight, match=r"the job a may go on; look for it with: pmd logs a --follow"):
        followed(PretendCluster(silent=10_000))


def test_a_job_that_is_gone_is_an_error() -> None:
    with pytest.raises(UserError, match="no job 'b'"):
        follow(PretendCluster(), "b", print, look_every=0.02)


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (job(), 0),
        (job("STOPPED"), 130),
        (job("FAILED", exit_code=1), 1),
        (job("FAILED", exit_code=2), 2),
        (job("FAILED"), 1),
        (job("FAILED", exit_code=-9), 1),
        (job("FAILED", exit_code=0), 1),
    ],
)
def test_the_result_is_the_true_one(ended: Job, code: int) -> None:
    assert result_of(ended) == code


def test_how_it_ended_is_said() -> None:
    assert result_text(job()) == "a ended well after 2 s"
    assert "was stopped after 2 s; submitted again, it goes on" in result_text(job("STOPPED"))
    assert result_text(job("FAILED", exit_code=2)) == "a failed after 2 s (exit code 2)"
    lost = Job(id="a", state="FAILED", entrypoint="", message="the supervisor\ndied")
    assert result_text(lost) == "a failed: the supervisor died"
    assert result_text(job("PENDING")) == "a is pending"


def test_a_name_finds_the_newest_of_its_jobs() -> None:
    cluster = PretendCluster(
        known={
            "pmd-x-1": job(id="pmd-x-1", started=1.0, name="x", run="search-x"),
            "pmd-x-2": job(id="pmd-x-2", started=2.0, name="x", run="x"),
        }
    )
    assert find_job(cluster, "pmd-x-1").id == "pmd-x-1"
    assert find_job(cluster, "x").id == "pmd-x-2"
    assert find_job(cluster, "search-x").id == "pmd-x-1"
    with pytest.raises(UserError, match=r"no job 'y' at http://head:8265 \(there: pmd-x-2, pmd-x-1\)"):
        find_job(cluster, "y")
