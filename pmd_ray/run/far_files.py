"""The files of a stage whose workers share no disk: each node has its own, and the store's bucket lies between them.

The leader of the group reads and writes checkpoints on its node's disk and copies them to the bucket after each epoch;
the others are sent what it read (`train.checkpoint.resume`). Whoever launched the group takes the finished stage from
there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace

from pmd_ray.store.store import Store
from pmd_ray.train.events import EpochKept, Event, Listener, StepKept
from pmd_ray.train.stage import Stage


@dataclass(frozen=True, kw_only=True)
class FarFiles:
    """Where they are: plain values, so that it travels to every worker."""

    storage: str = field(repr=False)
    """The bucket; Ray Train shows what workers are given as text, and an address may hold a secret."""
    key: str
    teacher_key: str | None
    node: str
    """Where the launcher runs."""

    def open(self) -> NodeFiles:
        """The files as a process of any node sees them.

        Raises:
            StorageError: the storage does not answer.
        """
        return NodeFiles(Store.open(self.storage, create=False), self)


class NodeFiles:
    """A stage's files on the disk of one node; all methods raise StorageError where disk or storage refuse."""

    def __init__(self, store: Store, far: FarFiles) -> None:
        self._store, self._far = store, far

    def stage_here(self, stage: Stage) -> Stage:
        """The stage with the folders of this node, its teacher brought here.

        Raises:
            ArtifactBroken: the teacher's artifact fails its hashes.
        """
        work, teacher = self._store.work(self._far.key), self._far.teacher_key
        return replace(
            stage,
            out=work / stage.out.name,
            curves=work / stage.curves.name if stage.curves else None,
            teacher=self._store.fetch(teacher) / "model" if teacher else None,
        )

    def bring(self) -> None:
        """What was saved last, to this node's disk."""
        self._store.load_work(self._far.key)

    def saving(self, send: Listener) -> Listener:
        """What the leader tells: checkpoints are in the bucket before anybody hears of them."""

        def told(event: Event) -> None:
            if isinstance(event, EpochKept | StepKept):
                self._store.save_work(self._far.key)
            send(event)

        return told

    def hand_over(self) -> None:
        """Put the finished stage into the bucket; what only the leader calls."""
        self._store.save_work(self._far.key)

    def leave(self, here: str) -> None:
        """Remove what this node has of the stage, unless the launcher uses it.

        Args:
            here: This node.
        """
        if here != self._far.node:
            shutil.rmtree(self._store.work(self._far.key), ignore_errors=True)
