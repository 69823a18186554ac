"""A job server that is no cluster: what is submitted to it is remembered, and its jobs do as a test says."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pmd_ray.run.job_server import Job, Node, Unreachable

HEAD = Node(address="10.0.0.1", head=True, resources={"CPU": 0.0})


def worker(cpus: float = 4.0, gpus: float = 0.0, **labels: str) -> Node:
    resources = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
    return Node(address="10.0.0.2", head=False, resources=resources, labels=labels)


@dataclass
class Submitted:
    """What was sent, with the files that came along."""

    id: str
    entrypoint: str
    runtime_env: Mapping[str, Any]
    metadata: Mapping[str, str]
    resources: Mapping[str, float]
    files: dict[str, str]


@dataclass
class PretendCluster:
    """`JobServer`: `looks` at its nodes one after another, the last one for good; the log comes in pieces."""

    address: str = "http://head:8265"
    looks: list[Sequence[Node]] = field(default_factory=lambda: [[HEAD, worker()]])
    growing: bool = False
    pending: bool = False
    """Nodes are being started."""
    told_versions: dict[str, str] = field(
        default_factory=lambda: {"ray": version("ray"), "python": platform.python_version()}
    )
    pieces: Sequence[str] = ("one\n", "two\n")
    ends: Job = field(default_factory=lambda: Job(id="", state="SUCCEEDED", entrypoint="", started=1.0, ended=3.0))
    breaks_at: int | None = None
    """After so many pieces the connection breaks, once."""
    silent: int = 0
    """So many questions about a job go unanswered."""
    hangs: bool = False
    """The log's connection says nothing when the job is over."""
    known: dict[str, Job] = field(default_factory=dict)
    sent: list[Submitted] = field(default_factory=list)

    def submit(
        self,
        entrypoint: str,
        *,
        id: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
        resources: Mapping[str, float],
    ) -> None:
        folder = Path(runtime_env["working_dir"])
        files = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
        self.sent.append(Submitted(id, entrypoint, runtime_env, metadata, resources, files))
        self.known[id] = replace(self.ends, id=id, entrypoint=entrypoint, metadata=dict(metadata))

    def job(self, id: str) -> Job | None:
        if self.silent:
            self.silent -= 1
            raise Unreachable("nobody answers")
        return self.known.get(id)

    def jobs(self) -> list[Job]:
        return sorted(self.known.values(), key=lambda job: job.started or 0.0, reverse=True)

    def log(self, id: str) -> str:
        return "".join(self.pieces)

    async def tail(self, id: str) -> AsyncIterator[str]:
        for place, piece in enumerate(self.pieces):
            if place == self.breaks_at:
                self.breaks_at = None
                raise Unreachable("the connection broke")
            await asyncio.sleep(0)
            yield piece
        if self.hangs:
            await asyncio.sleep(3600)

    def nodes(self) -> list[Node]:
        return list(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    def grows(self) -> bool:
        return self.growing

    def starting(self) -> bool:
        return self.pending

    def versions(self) -> dict[str, str]:
        return dict(self.told_versions)
