"""One stage under Ray Train: inside this process (its local mode), or in a worker group that survives lost workers.

The stage keeps its own checkpoints (Ray's local mode keeps none), so a replaced worker group, a second call and a
single process all go on from the same files. A run's name is its stage key: Ray Train resumes whatever lies under an
equal name.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from typing import Any

from pmd_ray.run.mailbox import Mailbox
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.errors import NotFiniteError, PmdError, StorageError, UserError, WorkerError
from pmd_ray.spec.results import GradeResult
from pmd_ray.train.checkpoint import Progress
from pmd_ray.train.events import Listener
from pmd_ray.train.stage import Stage, stored_result, train_stage
from pmd_ray.train.workers import Workers
from pmd_ray.train.workshop import Places, Workshop, open_workshop

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
STARTUP_TRIES = 5
"""Worker groups that may fail to start; Ray's default waits for ever for what a cluster does not have."""


@dataclass(frozen=True)
class _Told:
    """What a worker returns in place of an error that trying again would not mend."""

    kind: type[PmdError]
    message: str


def run_stage(
    stage: Stage, places: Places, plan: WorkerPlan, *, shop: Workshop | None = None, listen: Listener
) -> GradeResult:
    """Train a stage under Ray Train, or return what is stored.

    Args:
        shop: What the caller has opened already; a worker group opens its own.

    Raises:
        NotFiniteError, StorageError, UserError: as `train_stage` does.
        WorkerError: workers were lost more often than the plan allows.
    """
    for name, value in RAY_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if plan.local:
        return _run_locally(stage, shop or open_workshop(stage.chain, places), listen)
    return _run_group(stage, places, plan, listen)


def _run_locally(stage: Stage, shop: Workshop, listen: Listener) -> GradeResult:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def loop() -> GradeResult:
        return train_stage(stage, shop, workers=Workers.current(), listen=listen, after_epoch=_report)

    result = TorchTrainer(
        loop, scaling_config=ScalingConfig(num_workers=0), run_config=RunConfig(name=f"stage-{stage.key[:16]}")
    ).fit()
    done: GradeResult = result.return_value
    return done


def _run_group(stage: Stage, places: Places, plan: WorkerPlan, listen: Listener) -> GradeResult:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    stored = stored_result(stage.out, stage.key)
    if stored is not None:  # A worker group costs 20 s of starts; a stored stage costs none.
        return stored
    storage = stage.work.absolute() / "ray"
    with Mailbox(listen) as mailbox:
        trainer = TorchTrainer(
            _group_loop,
            train_loop_config={"stage": stage, "places": places, "send": mailbox.sender()},
            torch_config=TorchConfig(backend="nccl" if plan.gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=plan.count, use_gpu=plan.gpu, resources_per_worker=plan.resources()
            ),
            run_config=RunConfig(
                name=f"stage-{stage.key[:16]}",
                storage_path=str(storage),
                failure_config=FailureConfig(max_failures=plan.max_failures, controller_failure_limit=STARTUP_TRIES),
            ),
        )
        try:
            told = trainer.fit().return_value
        except TrainingFailedError as error:
            raise WorkerError(
                f"grade '{stage.grade.name}': workers failed more often than the {plan.max_failures} times allowed, or "
                f"could not start: {_first_line(error)}\n  The last epoch is kept; the same command goes on from it."
            ) from error
    if isinstance(told, _Told):
        raise told.kind(told.message)
    shutil.rmtree(storage, ignore_errors=True)
    result = stored_result(stage.out, stage.key)
    if result is None:
        raise WorkerError(f"grade '{stage.grade.name}' ended without a result in {stage.out}; is it on shared storage?")
    return result


def _group_loop(config: dict[str, Any]) -> _Told | None:
    """Runs in every worker. Only what a new worker could mend may leave it as an exception."""
    stage: Stage = config["stage"]
    try:
        shop = open_workshop(stage.chain, config["places"])
        train_stage(stage, shop, workers=Workers.current(), listen=config["send"], after_epoch=_report)
    except (UserError, NotFiniteError, StorageError) as error:
        return _Told(NotFiniteError if isinstance(error, NotFiniteError) else StorageError, str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            return _Told(StorageError, f"{stage.out}: {error.strerror}")
        raise
    return None


def _report(progress: Progress) -> None:
    """Tell Ray Train about an epoch, so that its dashboard and failure handling know."""
    import ray.train

    ray.train.report({"epoch": progress.epoch, "valid_mrr": progress.valid_mrr[-1], "steps": progress.steps})


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
