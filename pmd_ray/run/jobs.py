"""Jobs of a cluster: found again by name, followed to their true result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from pmd_ray.run.job_server import FAILED, STOPPED, SUCCEEDED, Job, JobServer, Unreachable
from pmd_ray.spec.errors import PmdError, UserError

Write = Callable[[str], None]
LOOK_EVERY_S = 10.0
"""Between two looks whether a job that says nothing still runs."""
LOST_AFTER_S = 120.0
"""Without an answer, after which following ends."""
INTERRUPTED = 130


class LostSight(PmdError):
    """The cluster stopped answering while a job was followed; how the job ends is not known."""


def find_job(server: JobServer, name: str) -> Job:
    """The job of that id, or the newest one that `pmd submit` gave that name.

    Raises:
        UserError: there is none.
    """
    found = server.job(name)
    if found is not None:
        return found
    jobs = server.jobs()
    for job in jobs:
        if name in (job.metadata.get("name"), job.metadata.get("run")):
            return job
    there = ", ".join(job.id for job in jobs[:5])
    raise UserError(f"no job '{name}' at {server.address} (there: {there or 'none'})")


def result_of(job: Job) -> int:
    """The exit code that tells how a job ended: 0 well, 130 stopped, else its command's own, at least 1."""
    match job.state:
        case state if state == SUCCEEDED:
            return 0
        case state if state == STOPPED:
            return INTERRUPTED
        case _:
            return job.exit_code if job.exit_code and 0 < job.exit_code < 256 else 1


def result_text(job: Job) -> str:
    """How a job ended, in a sentence."""
    spent = f" after {job.ended - job.started:.0f} s" if job.started and job.ended else ""
    match job.state:
        case state if state == SUCCEEDED:
            return f"{job.id} ended well{spent}"
        case state if state == STOPPED:
            return f"{job.id} was stopped{spent}; submitted again, it goes on from what is stored"
        case state if state == FAILED:
            code = f" (exit code {job.exit_code})" if job.exit_code is not None else ""
            why = "" if job.exit_code is not None else f": {' '.join(job.message.split())[-600:]}"
            return f"{job.id} failed{spent}{code}{why}"
        case _:
            return f"{job.id} is {job.state.lower()}"


def follow(server: JobServer, id: str, write: Write, *, look_every: float = LOOK_EVERY_S) -> Job:
    """Hand on a job's log as it grows, until the job is over; a connection that breaks is made again.

    Args:
        write: Gets pieces of the log, line ends included, each once.

    Raises:
        LostSight: the cluster did not answer for minutes.
        UserError: there is no such job.
    """
    return asyncio.run(_Following(server, id, write, look_every).job())


class _Following:
    def __init__(self, server: JobServer, id: str, write: Write, look_every: float) -> None:
        self._server, self._id, self._write, self._look_every = server, id, write, look_every
        self._shown = 0
        """Characters of the log that were handed on."""
        self._silent_since: float | None = None

    async def job(self) -> Job:
        while True:
            try:
                await self._read()
                job = await asyncio.to_thread(self._server.job, self._id)
                self._silent_since = None
                if job is None:
                    raise UserError(f"no job '{self._id}' at {self._server.address}")
                if job.over:
                    self._show(await asyncio.to_thread(self._server.log, self._id), begin=0)
                    return job
            except Unreachable as error:
                self._bear(error)
            await asyncio.sleep(min(1.0, self._look_every))

    async def _read(self) -> None:
        """The log from its beginning; every connection starts there."""
        begin = 0
        async for text in self._pieces():
            self._show(text, begin=begin)
            begin += len(text)

    def _show(self, text: str, *, begin: int) -> None:
        new = text[max(0, self._shown - begin) :]
        if new:
            self._silent_since = None
            self._write(new)
        self._shown = max(self._shown, begin + len(text))

    async def _pieces(self) -> AsyncIterator[str]:
        """What the log says; ends where it is over, or where the job is and nothing more comes."""
        stream = aiter(self._server.tail(self._id))
        while True:
            coming = asyncio.ensure_future(anext(stream, None))
            try:
                while not (await asyncio.wait({coming}, timeout=self._look_every))[0]:
                    job = await asyncio.to_thread(self._server.job, self._id)
                    if job is None or job.over:
                        return
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait({coming})
            text = coming.result()
            if text is None:
                return
            yield text

    def _bear(self, error: Unreachable) -> None:
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since > LOST_AFTER_S:
            raise LostSight(
                f"{error}\n  the job {self._id} may go on; look for it with: pmd logs {self._id} --follow"
            ) from None
