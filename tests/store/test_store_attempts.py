"""Attempts: written when they start, in order whatever the clock says, lost ones called lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from storages import Storage, key

from pmd_ray.spec.attempt import AttemptState, FailureKind
from pmd_ray.spec.errors import NotFiniteError
from pmd_ray.store import attempts

KEY, OTHER = key(1), key(2)
DIE = """
import os, sys, signal
from pmd_ray.store.store import Store
writer = Store.open(sys.argv[1]).begin(sys.argv[2], study="dies")
writer.update(epochs_started=3, epochs_finished=2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_attempt_is_there_while_it_runs_and_keeps_count(storage: Storage) -> None:
    store, reader = storage.open(), storage.open(create=False)
    writer = store.begin(KEY, study="s", first_epoch=4)
    (seen,) = reader.attempts(KEY)
    assert seen == writer.attempt
    assert (seen.state, seen.pid, seen.study, seen.first_epoch) == (AttemptState.RUNNING, os.getpid(), "s", 4)
    assert seen.ended is None
    writer.update(epochs_started=2, epochs_finished=1)
    writer.update(first_epoch=5)
    (seen,) = reader.attempts(KEY)
    assert (seen.epochs_started, seen.epochs_finished, seen.first_epoch) == (2, 1, 5)
    writer.end(AttemptState.DONE, seconds=9.0, cpu_seconds=8.0, gpu_seconds=7.0, peak_memory_bytes=6)
    (seen,) = reader.attempts()
    assert (seen.state, seen.failure, seen.message) == (AttemptState.DONE, None, None)
    assert (seen.seconds, seen.cpu_seconds, seen.gpu_seconds, seen.peak_memory_bytes) == (9.0, 8.0, 7.0, 6)
    assert seen.ended is not None
    assert seen.epochs_finished == 1
    assert reader.attempts(OTHER) == []


def test_an_attempt_that_ends_before_it_knows_has_lost_nothing(storage: Storage) -> None:
    store = storage.open()
    store.begin(KEY, study="s").update(first_epoch=0, epochs_started=6, epochs_finished=5)
    store.begin(KEY, study="s")  # killed before its training began: its checkpoints are still those of the first
    last = store.begin(KEY, study="s")
    assert [(one.first_epoch, one.epochs_finished) for one in store.attempts(KEY)] == [(0, 5), (5, 0), (5, 0)]
    last.end(AttemptState.DONE)
    assert store.attempts(KEY)[-1].first_epoch == 5
    store.begin(KEY, study="s")  # its artifact was set aside, and the checkpoints went when it was published
    assert store.attempts(KEY)[-1].first_epoch == 0


def test_a_failure_stays_visible_with_its_reason(storage: Storage) -> None:
    store = storage.open()
    writer = store.begin(KEY, study=None)
    try:
        raise NotFiniteError("the loss of step 7 is nan")
    except NotFiniteError as error:
        writer.end(AttemptState.FAILED, FailureKind.NOT_FINITE, error)
    store.begin(KEY, study=None).end(AttemptState.DONE)
    failed, done = store.attempts(KEY)
    assert (failed.state, failed.failure) == (AttemptState.FAILED, FailureKind.NOT_FINITE)
    assert failed.message == "NotFiniteError: the loss of step 7 is nan"
    assert failed.traceback is not None
    assert "test_a_failure_stays_visible" in failed.traceback
    assert done.state is AttemptState.DONE


def test_a_long_traceback_is_cut_in_the_middle(local: Storage) -> None:
    store = local.open()
    writer = store.begin(KEY, study=None)
    writer.end(AttemptState.FAILED, FailureKind.BUG, ValueError("x" * 100_000 + "the end"))
    (failed,) = store.attempts(KEY)
    assert failed.traceback is not None
    assert len(failed.traceback) < 21_000
    assert "characters left out" in failed.traceback
    assert failed.traceback.rstrip().endswith("the end")


def test_the_attempt_of_a_killed_process_becomes_lost_and_keeps_its_epochs(local: Storage) -> None:
    store = local.open()
    process = subprocess.run([sys.executable, "-c", DIE, local.location, KEY], check=False)
    assert process.returncode == -signal.SIGKILL
    (running,) = store.attempts(KEY)
    assert running.state is AttemptState.RUNNING
    other = store.begin(OTHER, study=None)
    store.begin(KEY, study="next")
    lost, now = store.attempts(KEY)
    assert (lost.state, lost.failure, lost.study) == (AttemptState.LOST, FailureKind.NODE_LOST, "dies")
    assert (lost.epochs_started, lost.epochs_finished) == (3, 2)
    assert lost.seconds > 0
    assert now.state is AttemptState.RUNNING
    assert store.attempts(OTHER) == [other.attempt]


def test_without_leases_the_attempt_of_a_living_process_is_left_alone(on_s3: Storage) -> None:
    store = on_s3.open()
    alive = store.begin(KEY, study="alive")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    on_s3.write(
        f"attempts/{KEY}/000000-x.json",
        alive.attempt.model_copy(update={"id": "000000-x", "pid": gone.pid}).model_dump_json().encode(),
    )
    store.begin(KEY, study="next")
    assert [attempt.state for attempt in store.attempts(KEY)] == ["lost", "running", "running"]


def test_a_living_attempt_that_was_called_lost_puts_it_right(local: Storage) -> None:
    store = local.open()
    alive = store.begin(KEY, study=None)
    store.begin(KEY, study=None)
    assert store.attempts(KEY)[0].state is AttemptState.LOST
    alive.update(epochs_finished=1)
    assert store.attempts(KEY)[0].state is AttemptState.RUNNING


def test_attempts_stay_in_order_when_the_clock_jumps_backwards(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = storage.open()
    for number, year in enumerate((2030, 1999, 2025, 1970)):
        monkeypatch.setattr(attempts, "utc_now", lambda year=year: f"{year}-01-01T00:00:00.000000Z")
        store.begin(KEY, study=str(number)).end(AttemptState.DONE)
    assert [attempt.study for attempt in store.attempts(KEY)] == ["0", "1", "2", "3"]
    assert all(attempt.seconds >= 0 for attempt in store.attempts())
    ids = [attempt.id for attempt in store.attempts(KEY)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("garbage", [b"", b'{"id": "0', b"\x80", b"[1]", b'{"id": "x"}'])
def test_a_record_that_is_garbage_is_named_and_left_out(storage: Storage, garbage: bytes) -> None:
    store = storage.open()
    good = store.begin(KEY, study=None)
    storage.write(f"attempts/{KEY}/000009-broken.json", garbage)
    assert store.attempts() == [good.attempt]
    (warning,) = storage.warnings
    assert f"attempts/{KEY}/000009-broken.json is not readable" in warning
    assert len(store.begin(KEY, study=None).attempt.id) == len(good.attempt.id)


def test_a_record_holds_words(local: Storage) -> None:
    """Others read it too: states and kinds are words, times are ISO 8601 in UTC."""
    local.open().begin(KEY, study=None).end(AttemptState.FAILED, FailureKind.OUT_OF_MEMORY)
    (name,) = local.names("attempts/")
    assert local.folder is not None
    told = json.loads((local.folder / name).read_bytes())
    assert (told["state"], told["failure"]) == ("failed", "oom")
    assert told["started"][10] == "T"
    assert told["started"].endswith("Z")
    assert told["started"] <= told["ended"]


def test_when_an_attempt_was_heard_of_last(storage: Storage) -> None:
    """Of one on an object store nobody knows whether it lives: what it wrote last tells most."""
    writer = storage.open().begin(KEY, study=None)
    begun = datetime.fromisoformat(writer.attempt.started)
    assert attempts.last_heard(writer.attempt, now=begun) == f"last heard {begun:%H:%M} UTC"
    silent = writer.attempt.model_copy(update={"started": "2026-11-22T23:50:00.000000Z", "seconds": 1200.0})
    the_22nd, the_23rd = (datetime(2026, 11, day, 12, tzinfo=UTC) for day in (22, 23))
    assert attempts.last_heard(silent, now=the_23rd) == "last heard 00:10 UTC"
    assert attempts.last_heard(silent, now=the_22nd) == "last heard 2026-11-23 00:10 UTC"
