"""Trains stages as Ray tasks, each in one warm worker process; lost processes and nodes come back as outcomes.

A task that trains with a worker group of its own asks for no cores: the group's workers do.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Any

import ray

from pmd_ray.run.cluster import prepare_ray
from pmd_ray.run.failures import STORAGE_PAUSE_S
from pmd_ray.run.mailbox import Mailbox, Sender
from pmd_ray.run.stage_call import StudySetting, train_job
from pmd_ray.run.stage_nodes import StageNodes, StagePlaced
from pmd_ray.run.study_events import StageEvent, StudyListener
from pmd_ray.run.task_outcome import CRASHED, UNPREPARED, task_outcome
from pmd_ray.run.walk import Ending, StageJob, StageOutcome
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.train.events import EpochKept, Event, StepKept

LAUNCHER_BYTES = 800 << 20
"""Of the process that starts a worker group, and the helpers that Ray Train starts beside it: 0.5 to 0.8 GB."""
CANCEL_S = 10.0
"""Given to workers to stop at a whole place."""
SIZE_EVERY_S = 5.0
"""Between two looks at how large the cluster is."""
CANCEL_ONE_S = 3.0
"""Given to one worker of a search, whose place is wanted."""


def task_options(cpus: float, gpus: float) -> dict[str, Any]:
    """Of a task that trains a stage by itself."""
    # A lost process is our walk's to judge, not Ray's to try again.
    options: dict[str, Any] = {"num_cpus": cpus, "max_retries": 0}
    return {**options, "num_gpus": gpus} if gpus else options


def launcher_options(address: str) -> dict[str, Any]:
    """Of a task that starts a group and waits for it.

    Args:
        address: Of Ray's state service: by it Ray Train's cleaner of lost groups finds the service where several Rays
            run on a machine.
    """
    # What only waits for a group has helpers still: as many as a node's memory holds, over all nodes.
    return {
        **task_options(0, 0),
        "memory": LAUNCHER_BYTES,
        "scheduling_strategy": "SPREAD",
        "runtime_env": {"env_vars": {"RAY_ADDRESS": address}},
    }


class RayPool:
    """The workers of one study; a context that stops them at its end.

    Args:
        setting: What all stages share.
        cpus: Cores of each stage.
        gpus: GPUs of each stage; a fraction shares one.
        slots: Stages at once; None follows the cluster's size. A cluster that grows on demand needs the number, since
            it sees demand only in what is submitted.
        listen: Told what happens in the workers.
    """

    def __init__(
        self, setting: StudySetting, *, cpus: float, gpus: float, slots: int | None, listen: StudyListener
    ) -> None:
        self._setting, self._cpus, self._gpus, self._slots = setting, cpus, gpus, slots
        self._listen = listen
        self._kept: set[str] = set()
        """Stages that have finished an epoch since they were submitted."""
        self._nodes = StageNodes(plan=setting.plan)
        self._resting: dict[str, tuple[float, StageJob]] = {}
        """Stages that the storage refused, with the time from which they are started."""
        self._rests: dict[str, float] = {}
        """That time, of those that nobody has submitted again."""
        self._told: list[StageOutcome] = []
        """Of stages that were stopped before they began."""
        self._mailbox = Mailbox(self._hear)
        self._group = group = not setting.plan.local
        options = launcher_options(ray.get_runtime_context().gcs_address) if group else task_options(cpus, gpus)
        self._task = ray.remote(**options)(_train)
        self._running: dict[Any, str] = {}
        self._ending: dict[Any, float] = {}
        """Those told to stop, with the time at which their worker is ended."""
        self._size: tuple[float, int] = (-SIZE_EVERY_S, 1)

    def __enter__(self) -> RayPool:
        self._mailbox.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()
        with contextlib.suppress(ray.exceptions.RayError):  # a cluster that is gone has no mailbox to close
            self._mailbox.__exit__(*error)

    def slots(self) -> int:
        """Stages that may run at once now."""
        if self._slots is not None:
            return self._slots
        looked, size = self._size
        if time.monotonic() - looked >= SIZE_EVERY_S:
            there = self._nodes.resources()
            plan = self._setting.plan
            if plan.local:
                size = int(there.get("CPU", 0) // self._cpus) if self._cpus else 1
                if self._gpus:
                    size = min(size, int(there.get("GPU", 0) / self._gpus))
            else:
                asked = plan.resources()
                size = min(int(there.get(name, 0) // (amount * plan.least)) for name, amount in asked.items())
            size = max(1, size)
            self._size = (time.monotonic(), size)
        return size

    def submit(self, job: StageJob) -> None:
        """Start a stage; one that the storage has just refused after a pause."""
        self._kept.discard(job.key)
        at = self._rests.pop(job.key, 0.0)
        if at > time.monotonic():
            self._resting[job.key] = at, job
        else:
            self._start(job)

    def _start(self, job: StageJob) -> None:
        sender = StageSender(self._mailbox.sender(writers=self.slots()), job.key)
        plan = self._setting.plan
        asked = plan.resources() if self._group else {"CPU": self._cpus, "GPU": self._gpus}
        # A launcher writes nothing of a group's: it is the workers that keep away.
        away = self._nodes.away(job.key, resources=asked, workers=plan.least) if self._group else {}
        options = {} if self._group else self._nodes.options(job.key, resources=asked)
        task = self._task.options(**options) if options else self._task
        self._nodes.submitted(job.key)
        self._running[task.remote(job, self._setting, sender, away)] = job.key

    def wait(self, seconds: float) -> list[StageOutcome]:
        """What has ended."""
        for key in [key for key, (at, _) in self._resting.items() if time.monotonic() >= at]:
            self._start(self._resting.pop(key)[1])
        told, self._told = self._told, []
        if not self._running:
            time.sleep(0.0 if told else seconds)
            return told
        self._end_overdue()
        ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        if not ready and not told:
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        told += [self._ended(self._running.pop(reference), reference) for reference in ready]
        return told + self._lost_with_nodes()

    def _lost_with_nodes(self) -> list[StageOutcome]:
        """Stages whose nodes are gone, of which Ray would tell minutes later."""
        lost = self._nodes.lost(set(self._running.values()))
        for reference in [reference for reference, key in self._running.items() if key in lost]:
            del self._running[reference]
            self._ending.pop(reference, None)
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)
        return [
            StageOutcome(
                key=key,
                ending=Ending.FAILED,
                kind=FailureKind.NODE_LOST,
                message=f"the node {address} is gone",
                progressed=key in self._kept,
            )
            for key, address in lost.items()
        ]

    def _ended(self, key: str, reference: Any) -> StageOutcome:
        stopped = self._ending.pop(reference, None) is not None
        outcome = task_outcome(key, reference)
        if outcome.kind is FailureKind.DISK:
            self._nodes.refused(key, outcome.node)
            self._rests[key] = time.monotonic() + STORAGE_PAUSE_S
        # On a node whose disk is full a process is made where it needs no files, and dies with its first word.
        crashed = outcome.signature == CRASHED and key not in self._kept and not stopped
        if outcome.signature == UNPREPARED or crashed:
            self._nodes.unprepared(key)
        # A process that was killed says nothing, but its last epochs were told.
        return replace(outcome, progressed=outcome.progressed or key in self._kept)

    def _hear(self, event: Any) -> None:
        if isinstance(event, StagePlaced):
            self._nodes.began(event)
            return
        if isinstance(event, StageEvent) and isinstance(event.event, EpochKept | StepKept):
            self._kept.add(event.key)
        self._listen(event)

    def cancel_one(self, key: str) -> None:
        """Interrupt one stage, which resumes later; `wait` tells how it ended, and ends a worker that does not stop.

        A worker group is ended at once: its own way to stop takes seconds more, and one that is ended on that way keeps
        its cores for ever. Checkpoints are whole at any time.
        """
        if self._resting.pop(key, None) is not None:
            message = "stopped before it began"
            self._told.append(StageOutcome(key=key, ending=Ending.FAILED, kind=FailureKind.NODE_LOST, message=message))
        for reference, running in self._running.items():
            if running == key and reference not in self._ending:
                self._ending[reference] = float("inf") if self._group else time.monotonic() + CANCEL_ONE_S
                ray.cancel(reference, force=self._group)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for reference, at in self._ending.items():
            if now >= at:
                self._ending[reference] = float("inf")
                ray.cancel(reference, force=True)

    def cancel(self) -> None:
        """Interrupt what runs; a worker that does not stop in time is ended."""
        running, self._running = list(self._running), {}
        self._resting.clear()
        self._ending.clear()
        with contextlib.suppress(ray.exceptions.RayError):
            for reference in running:
                ray.cancel(reference, force=self._group)
            if running:
                _, left = ray.wait(running, num_returns=len(running), timeout=CANCEL_S)
                for reference in left:
                    ray.cancel(reference, force=True)


class StageSender:
    """Says for each event of which stage it is; travels to the worker."""

    def __init__(self, sender: Sender, key: str) -> None:
        self._sender, self._key = sender, key

    def __call__(self, event: Event) -> None:
        if self._sender.is_due(event):
            self._sender.put(StageEvent(self._key, event))

    def placed(self) -> None:
        """Say on which node it begins."""
        node = ray.get_runtime_context().get_node_id()
        self._sender.put(StagePlaced(self._key, node, ray.util.get_node_ip_address()))


def _train(job: StageJob, setting: StudySetting, send: StageSender, away: dict[str, str]) -> StageOutcome:
    prepare_ray()
    send.placed()
    return train_job(job, setting, send, away)
