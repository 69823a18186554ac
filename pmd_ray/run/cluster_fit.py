"""Whether a cluster fits what is to be submitted: its versions, its GPUs, room for one stage."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from pmd_ray.run.autoscaler import Growth
from pmd_ray.run.job_server import JobServer, Node
from pmd_ray.run.workers import Labels, WorkerPlan, has_labels, labels_written
from pmd_ray.spec.errors import UserError

NOTHING_COMES_S = 15.0
"""A cluster that grows on demand adds nothing before it is asked: the job is what asks."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What one stage asks a cluster for."""

    workers: int = 1
    """At the least."""
    cpus: float = 1.0
    """Of each worker."""
    gpus: float = 0.0
    """Likewise."""
    labels: Labels = ()
    """That its nodes must have."""

    @classmethod
    def of(cls, plan: WorkerPlan, *, cpus: float, gpus: float) -> Wanted:
        """Of a stage that one task trains, or a group of workers."""
        if plan.local:
            return cls(cpus=cpus, gpus=gpus, labels=plan.labels)
        return cls(workers=plan.least, cpus=plan.cpus or 1.0, gpus=1.0 if plan.gpu else 0.0, labels=plan.labels)

    @property
    def labels_written(self) -> str:
        """Such as `market=spot and gpus=4`."""
        return " and ".join(labels_written(self.labels))

    @property
    def text(self) -> str:
        """Such as `2 workers of 1 CPU and 1 GPU`."""
        each = f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")
        each += f" on nodes with {', '.join(labels_written(self.labels))}" if self.labels else ""
        return each if self.workers == 1 else f"{self.workers} workers of {each}"

    def fits(self, nodes: Sequence[Node]) -> bool:
        """Whether the nodes, all of them idle, can hold one stage."""
        return sum(self._held(node) for node in nodes) >= self.workers

    def fits_grown(self, nodes: Sequence[Node], types: Sequence[Growth]) -> bool:
        """Whether a cluster that has grown to its limits could; a type's labels are not told, so that any may do.

        Args:
            nodes: That are there: the head stays, of the others each is of a type.
            types: That may be started.
        """
        heads = sum(self._held(node) for node in nodes if node.head)
        # Without those of no room: 0 times infinite is no number.
        grown = sum(room * one.most for one in types if one.most and (room := self._room(one.resources)))
        return heads + grown >= self.workers

    def _held(self, node: Node) -> float:
        return self._room(node.resources) if has_labels(node.labels, self.labels) else 0

    def _room(self, resources: Mapping[str, float]) -> float:
        room = [resources.get("CPU", 0.0) / self.cpus] if self.cpus else []
        room += [resources.get("GPU", 0.0) / self.gpus] if self.gpus else []
        least = min(room, default=math.inf)
        return least if math.isinf(least) else int(least)


def check_versions(server: JobServer) -> None:
    """Refuse a cluster of another Ray or Python: a stage is what its versions make of it, and Ray copes with one only.

    Raises:
        UserError: naming both.
    """
    there, here = server.versions(), {"ray": version("ray"), "python": platform.python_version()}
    wrong = [
        f"{shown} {there[name]} (here: {here[name]})"
        for name, shown, parts in (("ray", "Ray", 3), ("python", "Python", 2))
        if name in there and there[name].split(".")[:parts] != here[name].split(".")[:parts]
    ]
    if wrong:
        raise UserError(
            f"the cluster at {server.address} has {' and '.join(wrong)}; install the same here, or change the "
            "cluster's image"
        )


def await_workers(
    server: JobServer,
    wanted: Wanted,
    *,
    seconds: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until one stage fits; whether it does. A cluster that grows on demand may still be without.

    Args:
        seconds: To wait at most.

    Raises:
        UserError: it never will: no GPU and no autoscaler, or the workers did not come.
    """
    begun, told = clock(), ""
    while True:
        nodes = server.nodes()
        if wanted.fits(nodes):
            return True
        grows = server.grows()  # a cluster that was just started does not know yet
        missing = f"a stage wants {wanted.text}, there are {sums_text(nodes)}"
        waited = clock() - begun
        if not grows and wanted.gpus and not any(node.resources.get("GPU") for node in nodes):
            raise UserError(
                f"no GPU in the cluster at {server.address}, and no autoscaler that could add one: {missing}; "
                "use --device cpu, or another cluster"
            )
        if grows and waited >= min(seconds, NOTHING_COMES_S) and not server.starting():
            say(f"{missing}; the cluster grows on demand, the job will ask for them")
            return False
        if waited >= seconds:
            if grows:
                say(f"{missing}; going on: the cluster may grow on demand")
                return False
            raise UserError(
                f"the workers did not come within {seconds:g} s: {missing}; ask for less, start more nodes, or wait "
                "longer (--wait-workers SECONDS)"
            )
        if missing != told:
            say(f"waiting for workers: {missing}")
            told = missing
        sleep(min(2.0, max(0.0, seconds - waited)))


def sums_text(nodes: Sequence[Node]) -> str:
    """Such as `2 nodes with 8 CPU and 1 GPU`."""
    count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    sums = {name: sum(node.resources.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
    return f"{count} with {sums['CPU']:g} CPU and {sums['GPU']:g} GPU"
