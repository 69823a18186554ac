"""Connects to Ray where a plan needs it, quietly, and leaves what it found as it was."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pmd_ray.run.autoscaler import growth, more_may_come
from pmd_ray.run.cluster_fit import Wanted, sums_text
from pmd_ray.run.job_server import HEAD_MARK, Node
from pmd_ray.run.workers import WorkerPlan, has_labels
from pmd_ray.spec.errors import UserError, WorkerError

LOG = logging.getLogger("pmd_ray.run")
START_TRIES = 3
SLOW_START = "timed out during startup"
OBJECT_STORE_BYTES = 150 * 2**20
"""Of a Ray that we start: stages pass paths, not tensors."""

RAY_DEFAULTS = {
    # Ray's 60 s are too few where several workers import torch on few cores.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    # Reports are read at this interval; Ray's 2 s would make each epoch's report wait as long.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Train's own copy of the storage path must stay the caller's: workers use absolute paths.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
CHATTER = {
    # "Running in local mode", "Reported metrics": we tell the same, once, as events.
    "ray.train": logging.WARNING,
    # A warning at each start that the cluster is protected by a token.
    "ray._private.authentication": logging.ERROR,
}
"""Loggers of Ray, each with the level from which it is worth a line; a level that the caller has set stays."""


def prepare_ray() -> None:
    """Set Ray's environment (read when it starts, and copied to its workers) and quieten its loggers."""
    for name, value in RAY_DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name, level in CHATTER.items():
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)


@contextmanager
def connected(plan: WorkerPlan) -> Iterator[None]:
    """A Ray that can run the plan: the one at RAY_ADDRESS, one that is connected, or a small local one.

    Raises:
        UserError: it has too few cores or GPUs, or no such node for the plan, which would wait for ever.
    """
    prepare_ray()
    plan.refuse_labels()
    if plan.local:
        yield
        return
    import ray

    started = not ray.is_initialized()
    if started:
        with _signals_kept():
            _start(plan)
    try:
        _check_fit(_wanted(plan, cpus=0.0, gpus=0.0))
        yield
    finally:
        if started:
            ray.shutdown()


@contextmanager
def cluster_for(plan: WorkerPlan, *, cpus: float, gpus: float) -> Iterator[None]:
    """A Ray that can run a study's stages: the one at RAY_ADDRESS, one that is connected, or a local one.

    Raises:
        UserError: it can never hold a single stage.
    """
    prepare_ray()
    refuse_too_large(plan)
    cores = os.cpu_count() or 1
    if plan.local and cpus > cores and "RAY_ADDRESS" not in os.environ and not _is_connected():
        raise UserError(f"--cpus: a stage wants {cpus:g} cores, this machine has {cores}; ask for at most {cores}")
    import ray

    started = not ray.is_initialized()
    if started:
        with _signals_kept():
            _start(plan)
    try:
        _check_fit(_wanted(plan, cpus=cpus, gpus=gpus))
        yield
    finally:
        if started:
            ray.shutdown()


def _check_fit(wanted: Wanted) -> None:
    """Refuse a stage that no nodes hold and none that may come would; say once what is waited for."""
    import ray

    told = ray.nodes()
    nodes = [_node(one) for one in told if one["Alive"]]
    if wanted.fits(nodes):
        return
    on_cluster = bool(os.environ.get("RAY_ADDRESS"))
    if not (on_cluster and _may_fit(wanted, nodes, lost=len(nodes) < len(told))):
        raise UserError(_refusal(wanted, nodes))
    labels = wanted.labels_written
    if labels and not any(has_labels(node.labels, wanted.labels) for node in nodes):
        LOG.warning("no node has %s yet; stages wait until the cluster has started one", labels)
    else:
        LOG.warning(
            "a stage wants %s, there are %s; stages wait until the cluster has grown", wanted.text, sums_text(nodes)
        )


def _may_fit(wanted: Wanted, nodes: Sequence[Node], *, lost: bool) -> bool:
    """Whether a cluster on which a stage does not fit may come to hold it.

    Args:
        lost: Whether nodes have gone: where nobody starts others, one of them may come back.
    """
    if (types := growth()) is not None:
        return wanted.fits_grown(nodes, types)
    if more_may_come():
        return True
    return lost and (not wanted.gpus or any(node.resources.get("GPU") for node in nodes))


def _refusal(wanted: Wanted, nodes: Sequence[Node]) -> str:
    option = "--workers" if wanted.workers > 1 else "--cpus" if not wanted.gpus else "--gpus"
    gpus = sum(node.resources.get("GPU", 0.0) for node in nodes)
    labelled = [node for node in nodes if has_labels(node.labels, wanted.labels)]
    if wanted.labels and not labelled:
        return f"--workers: no node has {wanted.labels_written}; leave it out, or start nodes that have it"
    if wanted.workers == 1 and wanted.gpus > gpus:
        return (
            f"--gpus: a stage wants {wanted.gpus:g} GPU, Ray sees {gpus:g}; leave --gpus out to train on CPUs, or use "
            "--device cpu"
        )
    most = {name: max((one.resources.get(name, 0.0) for one in labelled), default=0.0) for name in ("CPU", "GPU")}
    each = f"{most['CPU']:g} CPU" + (f" and {most['GPU']:g} GPU" if wanted.gpus else "")
    return (
        f"{option}: a stage wants {wanted.text}, there are {sums_text(labelled)}, at most {each} on one node, and no "
        "node comes that would do; ask for less, or a larger cluster"
    )


def _node(told: Mapping[str, Any]) -> Node:
    """A node as `ray.nodes()` tells of it."""
    resources = told["Resources"]
    return Node(
        address=told["NodeManagerAddress"], head=HEAD_MARK in resources, resources=resources, labels=told["Labels"]
    )


def _wanted(plan: WorkerPlan, *, cpus: float, gpus: float) -> Wanted:
    """What one stage asks for here, where the cores of a group's workers are known."""
    if plan.local:
        return Wanted.of(plan, cpus=cpus, gpus=gpus)
    return replace(Wanted.of(plan, cpus=cpus, gpus=gpus), cpus=plan.resources()["CPU"])


def refuse_too_large(plan: WorkerPlan) -> None:
    """Refuse a plan that this machine cannot hold, before anything is started or written.

    Raises:
        UserError: it wants more cores than there are; or `torchrun` has started the workers already.
    """
    if plan.local:
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError("torchrun has started the workers already; leave --workers out")
    cores = os.cpu_count() or 1
    needed = plan.least * plan.resources()["CPU"]
    if needed > cores and "RAY_ADDRESS" not in os.environ and not _is_connected():
        raise UserError(
            f"--workers: {plan.least} workers need {needed:g} CPU, this machine has {cores}; ask for at most {cores}, "
            "or set RAY_ADDRESS to a Ray cluster"
        )


def leads() -> bool:
    """Whether this process prints and writes; under `torchrun` only the first does."""
    return os.environ.get("RANK", "0") == "0"


def _is_connected() -> bool:
    import ray

    return bool(ray.is_initialized())


def _start(plan: WorkerPlan) -> None:
    import ray

    # What workers print goes to Ray's log files; their failures come back as exceptions.
    shown = {"logging_level": logging.WARNING, "log_to_driver": logging.getLogger("ray.train").level <= logging.INFO}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(address=os.environ["RAY_ADDRESS"], **shown)
    else:
        # Where a worker group's controller is lost, Ray Train frees its cores only with the state service's help, which
        # is part of the dashboard; without it whoever comes next waits for ever.
        own = {"include_dashboard": not plan.local, "object_store_memory": OBJECT_STORE_BYTES}
        if other := _remembered():
            LOG.warning("`ray start` was called on this machine (%s); to train there: RAY_ADDRESS=auto pmd ...", other)
        # Ray would else join whatever was started on this machine, or was once.
        _start_patiently(address="local", num_cpus=os.cpu_count(), **own, **shown)


def _remembered() -> str:
    """The address that `ray start` has left on this machine, and `ray stop` takes away; empty where there is none."""
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray")
    try:
        return (folder / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _start_patiently(**given: Any) -> None:
    """Start a local Ray; a busy machine may need longer than the 30 s that are fixed in Ray.

    Raises:
        WorkerError: it did not start.
    """
    import ray

    for left in reversed(range(START_TRIES)):
        try:
            ray.init(**given)
            return
        except Exception as error:  # Ray has no type for it
            if SLOW_START not in str(error):
                raise
            ray.shutdown()  # what it started of its processes ends with this one
            if not left:
                raise WorkerError(
                    f"Ray did not start, {START_TRIES} times within 30 s each: the machine is too busy or short of "
                    "memory; what was finished is kept, the same command goes on"
                ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts: `sys.exit(15)`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
