"""Attempts: one small file for each try to train a stage, written when it starts, so that a lost one leaves a trace."""

from __future__ import annotations

import os
import socket
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from pmd_ray.spec.attempt import Attempt, AttemptState, FailureKind, utc_now
from pmd_ray.store.layout import ATTEMPTS, Unreadable, Warn, read_record
from pmd_ray.store.medium import AT_ONCE, Medium

LONGEST_TRACEBACK = 20_000
"""Characters; of a longer one the middle is left out."""


class Attempts:
    """The attempts in a store."""

    def __init__(self, medium: Medium, warn: Warn) -> None:
        self._medium = medium
        self._warn = warn

    def begin(self, key: str, *, study: str | None, first_epoch: int | None = None, exclusive: bool) -> AttemptWriter:
        """Write an attempt as running, and earlier ones that ended without a word as lost.

        With `exclusive` the caller holds the stage's lease, and so nobody else is at work on it; without, a process of
        this machine that lives may be. (One that was called lost wrongly puts that right with its next epoch.)

        Args:
            first_epoch: Epochs kept so far; None takes what the last attempt told, until this one knows better.
        """
        earlier = self.of(key)
        for attempt in earlier:
            if attempt.state is AttemptState.RUNNING and (exclusive or not _lives(attempt)):
                self.write(attempt.model_copy(update={"state": AttemptState.LOST, "failure": FailureKind.NODE_LOST}))
        number = 1 + max((_number(attempt.id) for attempt in earlier), default=0)
        now = utc_now()
        attempt = Attempt(
            # The counter, since a clock may be set back between two attempts.
            id=f"{number:06d}-{now[:19].replace(':', '')}-{token_hex(3)}",
            key=key,
            state=AttemptState.RUNNING,
            host=socket.gethostname(),
            pid=os.getpid(),
            study=study,
            started=now,
            first_epoch=_reached(earlier) if first_epoch is None else first_epoch,
        )
        self.write(attempt)
        return AttemptWriter(self, attempt)

    def of(self, key: str) -> list[Attempt]:
        """The attempts of a stage, in order."""
        folder = f"{ATTEMPTS}/{key}"
        return self._read_all([f"{folder}/{entry.name}" for entry in self._medium.entries(folder)])

    def all(self) -> list[Attempt]:
        """Every attempt, by stage."""
        return self._read_all([f"{ATTEMPTS}/{entry.name}" for entry in self._medium.tree(ATTEMPTS)])

    def call_pruned(self, key: str) -> None:
        """Of a stage that was stopped on purpose: its last attempt was not lost, it was ended early."""
        for attempt in self.of(key)[-1:]:
            if attempt.state in (AttemptState.RUNNING, AttemptState.LOST):
                self.write(attempt.model_copy(update={"state": AttemptState.PRUNED, "failure": None}))

    def write(self, attempt: Attempt) -> None:
        """Write or replace an attempt, whole."""
        path = f"{ATTEMPTS}/{attempt.key}/{attempt.id}.json"
        self._medium.write(path, attempt.model_dump_json(indent=2).encode())

    def _read_all(self, paths: list[str]) -> list[Attempt]:
        whole = [path for path in paths if path.endswith(".json") and not path.rpartition("/")[2].startswith(".")]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = [attempt for attempt in pool.map(self._read, whole) if attempt]
        return sorted(found, key=lambda attempt: (attempt.key, _number(attempt.id), attempt.id))

    def _read(self, path: str) -> Attempt | None:
        data = self._medium.read(path)
        if data is None:
            return None
        try:
            return read_record(Attempt, data, self._medium.where(path))
        except Unreadable as error:
            self._warn(f"{error}; that attempt is left out")
            return None


class AttemptWriter:
    """Keeps the record of one attempt that is under way."""

    def __init__(self, attempts: Attempts, attempt: Attempt) -> None:
        self._attempts = attempts
        self._began = time.monotonic()
        self.attempt = attempt
        """As it was last written."""

    def update(
        self,
        *,
        epochs_started: int | None = None,
        epochs_finished: int | None = None,
        first_epoch: int | None = None,
        cpu_seconds: float | None = None,
        gpu_seconds: float | None = None,
    ) -> None:
        """Write how far it is, and what it cost until now: of one that is lost this remains.

        Raises:
            StorageError: the storage refuses.
        """
        given = {
            "epochs_started": epochs_started,
            "epochs_finished": epochs_finished,
            "first_epoch": first_epoch,
            "cpu_seconds": cpu_seconds,
            "gpu_seconds": gpu_seconds,
        }
        known = {name: value for name, value in given.items() if value is not None}
        self._write({**known, "seconds": time.monotonic() - self._began})

    def end(
        self,
        state: AttemptState,
        failure: FailureKind | None = None,
        error: BaseException | None = None,
        *,
        seconds: float | None = None,
        cpu_seconds: float = 0.0,
        gpu_seconds: float = 0.0,
        peak_memory_bytes: int | None = None,
    ) -> None:
        """Write how it ended and what it cost; `seconds` since it began where they are not given.

        Raises:
            StorageError: the storage refuses.
        """
        self._write(
            {
                "state": state,
                "failure": failure,
                "message": None if error is None else f"{type(error).__name__}: {error}"[:2000],
                "traceback": None if error is None else _cut("".join(traceback.format_exception(error))),
                "ended": utc_now(),
                "seconds": time.monotonic() - self._began if seconds is None else seconds,
                "cpu_seconds": cpu_seconds,
                "gpu_seconds": gpu_seconds,
                "peak_memory_bytes": peak_memory_bytes,
            }
        )

    def _write(self, changes: dict[str, object]) -> None:
        attempt = Attempt.model_validate(self.attempt.model_dump() | changes)
        self._attempts.write(attempt)
        self.attempt = attempt


def last_heard(attempt: Attempt, *, now: datetime | None = None) -> str:
    """When an attempt last wrote how far it is, else began: `last heard 12:34 UTC`, with the date unless that is today.

    Of one on an object store it is all that can be said: nobody there knows whether its process lives.
    """
    at = datetime.fromisoformat(attempt.started) + timedelta(seconds=attempt.seconds)
    today = (now or datetime.now(UTC)).date() == at.date()
    return f"last heard {at:%H:%M} UTC" if today else f"last heard {at:%Y-%m-%d %H:%M} UTC"


def _reached(earlier: list[Attempt]) -> int:
    """Epochs that the attempts at a stage have kept; none after one that was done, whose checkpoints are gone."""
    last = earlier[-1] if earlier else None
    return 0 if last is None or last.state is AttemptState.DONE else last.first_epoch + last.epochs_finished


def _lives(attempt: Attempt) -> bool:
    """Whether its process may be at work: of another machine nobody knows, and so it is taken for gone."""
    if attempt.host != socket.gethostname():
        return False
    try:
        os.kill(attempt.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def _number(id: str) -> int:
    head = id.partition("-")[0]
    return int(head) if head.isdecimal() else 0


def _cut(text: str) -> str:
    if len(text) <= LONGEST_TRACEBACK:
        return text
    half = LONGEST_TRACEBACK // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
