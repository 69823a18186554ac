"""One stage under Ray Train: inside this process (its local mode), or in a worker group that survives lost workers.

The stage keeps its own checkpoints (Ray's local mode keeps none), so a replaced worker group, a second call and a
single process all go on from the same files. A run's name is its stage key: Ray Train resumes whatever lies under an
equal name.
"""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray

from pmd_ray.run.cluster import RAY_DEFAULTS, prepare_ray
from pmd_ray.run.evidence import Evidence
from pmd_ray.run.far_files import FarFiles
from pmd_ray.run.graphs import bring_graph
from pmd_ray.run.mailbox import Mailbox, NodeStorageError, Sender
from pmd_ray.run.notices import Notices, leaving
from pmd_ray.run.storage import storage_failures_named
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.errors import StorageError, WorkerError
from pmd_ray.spec.places import Places
from pmd_ray.spec.results import GradeResult
from pmd_ray.train.checkpoint import Progress
from pmd_ray.train.costs import PeakMemory
from pmd_ray.train.events import GradeDone, Listener
from pmd_ray.train.stage import Stage, stored_result, train_stage
from pmd_ray.train.workers import Workers
from pmd_ray.train.workshop import Workshop, open_workshop

COLLECTIVES = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe")
"""What errors of torch.distributed's backends say, which are plain RuntimeErrors."""
STARTUP_TRIES = 5
"""Worker groups that may fail to start; Ray's default waits for ever for what a cluster does not have."""
START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
ELASTIC_START_S = "25"
"""Given to the places of a group that may be smaller. For 20 s after a node is lost Ray Train still counts on it, asks
for a group that cannot be, and would wait for that as long as for one that must be."""
ELASTIC_TRIES = 20
"""The same, where each try is so short: nodes that a cluster has to start first take minutes."""


def run_stage(
    stage: Stage,
    places: Places,
    plan: WorkerPlan,
    *,
    shop: Workshop | None = None,
    listen: Listener,
    device: str | None = None,
    evidence: Evidence | None = None,
    far: FarFiles | None = None,
    away: Mapping[str, str] = MappingProxyType({}),
) -> GradeResult:
    """Train a stage under Ray Train, or return what is stored.

    Args:
        shop: What the caller has opened already; a worker group opens its own.
        device: `cpu` keeps off a GPU that is there; None takes the best.
        evidence: Written beside the stage by the process that leads its training.
        far: Where the nodes of a worker group share no disk.
        away: Labels that the nodes of a worker group must have.

    Raises:
        PmdError: as `train_stage` does, and StorageError for a full disk.
        WorkerError: workers were lost more often than the plan allows.
    """
    prepare_ray()
    leaving()  # looks from now on; a place that nobody knows is an error before anything trains
    if plan.local:
        return _run_locally(stage, shop or open_workshop(stage.chain, places), listen, device, evidence)
    return _run_group(stage, places, plan, listen, evidence, far, away)


def _run_locally(
    stage: Stage, shop: Workshop, listen: Listener, device: str | None, evidence: Evidence | None
) -> GradeResult:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Under torchrun the process group is torchrun's and lives for the whole chain: Ray's local controller would end
        # it after each grade and could not join it again.
        with storage_failures_named(stage.out):
            return train_stage(stage, shop, workers=Workers.current(), listen=listen, leaving=leaving)
    import torch
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def loop() -> GradeResult:
        memory = PeakMemory()
        with storage_failures_named(stage.out):
            done = train_stage(stage, shop, workers=workers, listen=listen, after_epoch=_report, leaving=leaving)
            if evidence is not None and not evidence.is_there(stage):
                evidence.write(stage, shop, workers.device, memory)
            return done

    workers = Workers.current(None if device is None else torch.device(device))
    result = TorchTrainer(
        loop, scaling_config=ScalingConfig(num_workers=0), run_config=RunConfig(name=f"stage-{stage.key[:16]}")
    ).fit()
    done: GradeResult = result.return_value
    return done


def _run_group(
    stage: Stage,
    places: Places,
    plan: WorkerPlan,
    listen: Listener,
    evidence: Evidence | None,
    far: FarFiles | None,
    away: Mapping[str, str],
) -> GradeResult:
    from ray.exceptions import RayError
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    from pmd_ray.train.workers import BACKENDS

    stored = stored_result(stage.out, stage.key)
    # A worker group costs 20 s of starts; a stored stage costs none.
    if stored is not None and (evidence is None or evidence.is_there(stage)):
        listen(GradeDone.of(stored, reused=True))
        return stored
    if plan.least < plan.most and os.environ.get(START_TIMEOUT) == RAY_DEFAULTS[START_TIMEOUT]:
        os.environ[START_TIMEOUT] = ELASTIC_START_S
    with storage_failures_named(stage.out), _ray_folder(stage, far) as storage, Mailbox(listen, leaving) as mailbox:
        trainer = TorchTrainer(
            _group_loop,
            train_loop_config={
                "stage": stage,
                "places": places,
                "send": mailbox.sender(),
                "evidence": evidence,
                "far": far,
                "gpu": plan.gpu,
            },
            torch_config=TorchConfig(backend=BACKENDS["cuda" if plan.gpu else "cpu"]),
            scaling_config=ScalingConfig(
                num_workers=plan.count,
                use_gpu=plan.gpu,
                resources_per_worker=plan.resources(),
                placement_strategy="SPREAD" if plan.spread else "PACK",
                label_selector={**dict(plan.labels), **away} or None,
            ),
            run_config=RunConfig(
                name=f"stage-{stage.key[:16]}",
                storage_path=str(storage),
                failure_config=FailureConfig(
                    max_failures=plan.max_failures,
                    controller_failure_limit=ELASTIC_TRIES if plan.least < plan.most else STARTUP_TRIES,
                ),
            ),
        )
        lost: Exception | None = None
        try:
            trainer.fit()
        except (TrainingFailedError, RayError) as error:
            lost = error
        failure = mailbox.failure()
    if failure is not None:
        raise failure
    if lost is not None:
        raise WorkerError(
            f"grade '{stage.grade.name}': workers failed more often than the {plan.max_failures} times allowed, or "
            f"could not start: {_first_line(lost)}\n  The last epoch is kept; the same command goes on from it."
        ) from lost
    if far is not None:
        far.open().bring()
    result = stored_result(stage.out, stage.key)
    if result is None:
        raise WorkerError(f"grade '{stage.grade.name}' ended without a result in {stage.out}; is it on shared storage?")
    return result


@contextmanager
def _ray_folder(stage: Stage, far: FarFiles | None) -> Iterator[Path]:
    """For Ray's record of one attempt: another attempt goes on from our own checkpoints."""
    # Not among files that are copied to a bucket while Ray writes into it.
    folder = stage.work.absolute() / "ray" if far is None else Path(tempfile.gettempdir()) / f"pmd-ray-{stage.key[:16]}"
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _group_loop(config: dict[str, Any]) -> None:
    """Runs in every worker. Only what a new worker could mend may leave it as an exception."""
    from torch import distributed

    send: Sender = config["send"]
    far: FarFiles | None = config["far"]
    here = ray.get_runtime_context().get_node_id()
    if send.has_failed():  # A new group after a failure that no group can mend.
        if far is not None:
            far.open().leave(here)
        return
    try:
        _train_in_group(config, here)
    except Exception as error:
        # A lost neighbour shows as an error of the collective: a new group mends that. All else would only come again.
        if is_lost_neighbour(error):
            raise
        told = portable(error)
        if isinstance(told, StorageError):
            told = NodeStorageError(f"{ray.util.get_node_ip_address()}: {told}", here)
        # The exception ends the whole group, so that no other worker waits for this one; the next group sees what was
        # sent and returns at once. What the leader says is most of the truth: it alone has the checkpoints.
        send.fail(told, counts_most=not distributed.is_initialized() or distributed.get_rank() == 0)
        raise


def _train_in_group(config: dict[str, Any], here: str) -> None:
    import torch

    stage: Stage = config["stage"]
    send: Sender = config["send"]
    evidence: Evidence | None = config["evidence"]
    far: FarFiles | None = config["far"]
    leaving()
    workers = Workers.current(None if config["gpu"] else torch.device("cpu"))
    memory = PeakMemory()
    files = far.open() if far else None
    stage = files.stage_here(stage) if files else stage
    with storage_failures_named(stage.out), _leaving_of_group(send, workers) as goes:
        # Of a graph by fingerprint each node has a copy of its own.
        shop = open_workshop(stage.chain, bring_graph(stage.chain.dataset.source, config["places"]))
        if files and workers.leads:
            files.bring()
        heard = files.saving(send) if files else send
        train_stage(stage, shop, workers=workers, listen=heard, after_epoch=_report, leaving=goes)
        if workers.leads and evidence is not None and not evidence.is_there(stage):
            evidence.write(stage, shop, workers.device, memory)
        if files and workers.leads:
            files.hand_over()
        if files:
            workers.wait()  # the leader may be one of this node's
            files.leave(here)


@contextmanager
def _leaving_of_group(send: Sender, workers: Workers) -> Iterator[Callable[[], bool]]:
    """Whether this machine is about to go, or, as the leader asks, the launcher's: the group ends with it."""
    if not workers.leads:
        yield leaving
        return
    with closing(Notices(send.reader_leaves)) as told:
        yield lambda: leaving() or told()


def is_lost_neighbour(error: Exception) -> bool:
    """Whether another worker of the group has gone, as far as the collective's own words tell."""
    import torch.distributed

    if isinstance(error, torch.OutOfMemoryError):
        return False
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in COLLECTIVES)


def portable(error: Exception) -> Exception:
    """The error with its traceback as a note, so that it can be told in another process; its words where it cannot."""
    error.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an exception's own way to be copied does
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(error.__notes__[-1])
        return told
    return error


def _report(progress: Progress) -> None:
    """Tell Ray Train about an epoch, so that its dashboard and failure handling know."""
    import ray.train

    ray.train.report({"epoch": progress.epoch, "valid_mrr": progress.valid_mrr[-1], "steps": progress.steps})


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
