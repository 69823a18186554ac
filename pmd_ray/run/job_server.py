"""What the verbs need of a cluster's job server: jobs, their logs, nodes; `ray_jobs` has it over Ray's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pmd_ray.spec.errors import UserError

SUCCEEDED, FAILED, STOPPED = "SUCCEEDED", "FAILED", "STOPPED"
OVER = (SUCCEEDED, FAILED, STOPPED)
HEAD_MARK = "node:__internal_head__"
"""A resource that the head alone has."""


class Unreachable(UserError):
    """Nobody answers at the address, or not as Ray's job server does."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A submitted job as its cluster tells of it."""

    id: str
    state: str
    """`PENDING`, `RUNNING`, or one of `OVER`."""
    entrypoint: str
    message: str = ""
    started: float | None = None
    """Unix seconds."""
    ended: float | None = None
    exit_code: int | None = None
    """Of its command; None while it runs, and where it did not end by itself."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What `pmd submit` noted: verb, name, storage."""

    @property
    def over(self) -> bool:
        """Whether it has ended, however."""
        return self.state in OVER


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster that is alive."""

    address: str
    head: bool
    resources: Mapping[str, float]
    """Such as CPU and GPU, all of them, in use or not."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """As the cluster's file or Ray gave them."""


class JobServer(Protocol):
    """What the verbs need of a cluster; all raise Unreachable where it does not answer."""

    address: str

    def submit(
        self,
        entrypoint: str,
        *,
        id: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
        resources: Mapping[str, float],
    ) -> None: ...

    def job(self, id: str) -> Job | None: ...

    def jobs(self) -> list[Job]:
        """Those that were submitted, the newest first."""
        ...

    def log(self, id: str) -> str: ...

    def tail(self, id: str) -> AsyncIterator[str]:
        """The log from its beginning, as it grows; ends with the job."""
        ...

    def nodes(self) -> list[Node]: ...

    def grows(self) -> bool:
        """Whether an autoscaler may add nodes."""
        ...

    def starting(self) -> bool:
        """Whether it starts some now."""
        ...

    def versions(self) -> dict[str, str]:
        """Of `ray`, and of `python` where the cluster tells."""
        ...
