"""How many workers a stage gets, and where: one inside this process, a group, or an elastic group."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pmd_ray.spec.errors import UserError

Labels = tuple[tuple[str, str], ...]
"""Names and values."""
FORM = re.compile(r"(\d+)(?::(\d+))?(,spread)?((?:,[\w./-]+=[\w.-]+)*)")


@dataclass(frozen=True)
class WorkerPlan:
    """`least` to `most` workers; both 1 means Ray Train's local mode, inside the calling process."""

    least: int = 1
    most: int = 1
    cpus: float | None = None
    """Cores of each worker; None shares the machine's cores evenly."""
    gpu: bool = False
    """Give each worker a GPU (NCCL in place of gloo)."""
    spread: bool = False
    """Over as many machines as there are, for their memory; otherwise on as few as hold them, for the network."""
    labels: Labels = ()
    """That the nodes of a cluster must have, as its file gives them to types of machines."""
    max_failures: int = 3
    """Lost workers that a stage survives; it goes on from its last epoch each time."""

    @classmethod
    def parse(cls, text: str, *, gpu: bool = False, cpus: float | None = None) -> WorkerPlan:
        """From `4` or `2:8`, with `,spread` behind it or not, and `,LABEL=VALUE` for each label.

        Args:
            text: As a user gives it.
            gpu: Give each worker a GPU.
            cpus: Cores of each worker of a group; one process has what its caller has.

        Raises:
            UserError: neither.
        """
        found = FORM.fullmatch(text.strip())
        least = int(found[1]) if found else 0
        most = int(found[2] or found[1]) if found else 0
        if not 1 <= least <= most:
            raise UserError(
                "--workers must be a number from 1, or LEAST:MOST as in 2:8, either with ,spread and ,LABEL=VALUE "
                f"behind it or not, got '{text}'"
            )
        words = found[4].split(",")[1:] if found else []
        return cls(
            least,
            most,
            cpus=None if most == 1 else cpus,
            gpu=gpu,
            spread=bool(found and found[3] and most > 1),
            labels=tuple((label, value) for label, _, value in (word.partition("=") for word in words)),
        )

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        count = str(self.least) if self.least == self.most else f"{self.least}:{self.most}"
        return ",".join([count, *(["spread"] if self.spread else []), *self.labels_written])

    @property
    def labels_written(self) -> list[str]:
        """Each as `LABEL=VALUE`."""
        return labels_written(self.labels)

    def refuse_labels(self) -> None:
        """For one process that trains where it is.

        Raises:
            UserError: it has labels.
        """
        if self.local and self.labels:
            raise UserError(
                f"--workers: {', '.join(self.labels_written)} would choose among the nodes of a cluster, but a chain "
                "of one worker is trained where its command runs; leave it out, or run a study (pmd ablate)"
            )

    def may_use(self, node: Mapping[str, Any]) -> bool:
        """Whether a node, as `ray.nodes()` tells of it, is there and has the labels."""
        return bool(node["Alive"]) and has_labels(node["Labels"], self.labels)

    @property
    def local(self) -> bool:
        """Whether the calling process does the work."""
        return self.most == 1

    @property
    def count(self) -> int | tuple[int, int]:
        """As Ray's ScalingConfig wants it."""
        return self.least if self.least == self.most else (self.least, self.most)

    def resources(self) -> dict[str, float]:
        """What each worker of a group asks for."""
        cpus = self.cpus or max(1, (os.cpu_count() or 1) // self.most)
        return {"CPU": cpus, "GPU": 1} if self.gpu else {"CPU": cpus}


def labels_written(labels: Labels) -> list[str]:
    """Each as `LABEL=VALUE`."""
    return [f"{label}={value}" for label, value in labels]


def has_labels(there: Mapping[str, str], wanted: Labels) -> bool:
    """Whether a node has all the labels that are wanted."""
    return all(there.get(label) == value for label, value in wanted)
