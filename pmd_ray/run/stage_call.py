"""One stage in a worker process, from lease to artifact: what a Ray task of a study does.

It returns what happened instead of raising: the driver decides what follows. The attempt is written when it starts,
so that a process that disappears leaves a trace.
"""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import ray

from pmd_ray.run.cluster_leases import keep_leases
from pmd_ray.run.evidence import PROVENANCE, Evidence
from pmd_ray.run.far_files import FarFiles
from pmd_ray.run.graphs import bring_graph
from pmd_ray.run.mailbox import NodeStorageError
from pmd_ray.run.stage import run_stage
from pmd_ray.run.storage import storage_failures_named
from pmd_ray.run.walk import Ending, StageJob, StageOutcome
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.attempt import AttemptState, FailureKind, Provenance
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import Facts, stages_of_chain
from pmd_ray.spec.errors import NotFiniteError, StorageError, UserError, WorkerError
from pmd_ray.spec.places import Places
from pmd_ray.store.artifacts import ArtifactBroken
from pmd_ray.store.leases import Busy
from pmd_ray.store.location import local_path, without_secrets
from pmd_ray.store.store import AttemptWriter, Store
from pmd_ray.train.costs import COSTS, Costs
from pmd_ray.train.events import EpochKept, Event, GradeDone, GradeStarted, Listener, StepKept
from pmd_ray.train.stage import Stage
from pmd_ray.train.workshop import Workshop, open_workshop

CURVES = "tensorboard"
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "cannot allocate memory")
"""What PyTorch's allocators say, on CPUs and GPUs."""


@dataclass(frozen=True, kw_only=True)
class StudySetting:
    """What all stages of a study share."""

    storage: str
    study: str
    places: Places
    device: str
    """`cpu` or `cuda`."""
    threads: int | None
    """Of a stage on a CPU; None leaves PyTorch's choice."""
    plan: WorkerPlan
    command: str
    gpus: float = 0.0
    """Of a stage, all its workers together; a fraction shares one."""


def train_job(
    job: StageJob, setting: StudySetting, send: Listener, away: Mapping[str, str] = MappingProxyType({})
) -> StageOutcome:
    """Train a stage unless it is stored, or another run trains it.

    Args:
        away: Labels that the nodes of a group's workers must have.
    """
    store = _open_store(setting.storage)
    if store.has(job.key):
        return StageOutcome(key=job.key, ending=Ending.STORED)
    try:
        with store.lease(job.key):
            if store.has(job.key):
                return StageOutcome(key=job.key, ending=Ending.STORED)
            return _train_leased(job, setting, send, store, away)
    except Busy:
        return StageOutcome(key=job.key, ending=Ending.BUSY)
    except Exception as error:
        return _failed(job.key, error, progressed=False)


def _train_leased(
    job: StageJob, setting: StudySetting, send: Listener, store: Store, away: Mapping[str, str]
) -> StageOutcome:
    teacher: Path | None = None
    if job.teacher_key is not None:
        try:
            teacher = store.fetch(job.teacher_key) / "model"
        except ArtifactBroken as error:
            return StageOutcome(key=job.key, ending=Ending.BROKEN_TEACHER, message=str(error))
    far = None
    if store.local is None and not setting.plan.local:
        node = ray.get_runtime_context().get_node_id()
        far = FarFiles(storage=setting.storage, key=job.key, teacher_key=job.teacher_key, node=node)
    else:
        store.load_work(job.key)
    writer = store.begin(job.key, study=setting.study)
    log = _AttemptLog(
        writer,
        send,
        keep=lambda: None if far else store.save_work(job.key),  # a far group has done so itself
        gpus=setting.gpus,
        group=not setting.plan.local,
    )
    try:
        with storage_failures_named(Path(store.location)):
            peak = _train(job, setting, store, teacher=teacher, log=log, far=far, away=away)
    except (KeyboardInterrupt, SystemExit):
        log.end(AttemptState.LOST, FailureKind.NODE_LOST)
        raise
    except ArtifactBroken as error:  # only another node of a group has found it so
        log.end(AttemptState.LOST, FailureKind.NODE_LOST, error)
        return StageOutcome(key=job.key, ending=Ending.BROKEN_TEACHER, message=str(error))
    except Exception as error:
        outcome = _failed(job.key, error, progressed=log.progressed)
        log.end(AttemptState.FAILED, outcome.kind, error)
        return outcome
    log.end(AttemptState.DONE, peak_memory_bytes=peak)
    return StageOutcome(key=job.key, ending=Ending.DONE, progressed=log.progressed)


def _train(
    job: StageJob,
    setting: StudySetting,
    store: Store,
    *,
    teacher: Path | None,
    log: _AttemptLog,
    far: FarFiles | None,
    away: Mapping[str, str],
) -> int | None:
    """Train and publish; the highest resident memory of the process that led the training, in bytes."""
    import torch

    if setting.threads is not None:
        torch.set_num_threads(setting.threads)
    shop = _open_shop(job, setting, store)
    work = store.work(job.key)
    stage = Stage(
        chain=job.chain,
        grade=job.grade,
        key=job.key,
        out=work / "artifact",
        teacher=teacher,
        teacher_name=job.teacher,
        curves=work / CURVES,
        control_of=job.control_of,
    )
    result = run_stage(
        stage,
        setting.places,
        setting.plan,
        shop=shop,
        listen=log,
        device=setting.device,
        evidence=Evidence(command=without_secrets(setting.command)),
        far=far,
        away=away,
    )
    costs = Costs.model_validate_json((stage.out / COSTS).read_bytes())
    provenance = Provenance.model_validate_json((stage.out / PROVENANCE).read_bytes())
    if work.joinpath(CURVES).is_dir():
        shutil.copytree(work / CURVES, stage.out / CURVES, dirs_exist_ok=True)
    store.publish(job.key, stage.out, provenance=provenance, seconds=result.seconds, cpu_seconds=result.cpu_seconds)
    store.clear_work(job.key)
    return costs.peak_memory_bytes


class _AttemptLog:
    """Passes a training's events on, and keeps count of its epochs in the attempt's record."""

    def __init__(
        self, writer: AttemptWriter, send: Listener, *, keep: Callable[[], None], gpus: float, group: bool
    ) -> None:
        self._writer, self._send, self._keep, self._gpus, self._group = writer, send, keep, gpus, group
        self._begun, self._cpu_begun = time.perf_counter(), time.process_time()
        self.kept = 0
        """Epochs finished in this attempt."""
        self.progressed = False
        """Whether the next attempt goes on later than this one did."""
        self._epochs = self._started = 0
        self._first: int | None = None
        self._cpu_told: float | None = None
        self._cpu_before = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, GradeStarted | StepKept | EpochKept | GradeDone):
            self._count_workers(event.cpu_seconds)
        match event:
            case GradeStarted():
                self._epochs = event.epochs
                self._started += int(event.epochs_done < event.epochs)
                if self._first is None:  # a worker group that replaces a lost one starts again, later
                    self._first = event.epochs_done
                self._writer.update(first_epoch=self._first, epochs_started=self._started)
            case StepKept():
                self._keep()
                self.progressed = True
                cpu, gpu = self._cost()
                self._writer.update(cpu_seconds=cpu, gpu_seconds=gpu)
            case EpochKept():
                self.kept += 1
                self._keep()
                self.progressed = True
                self._started += int(event.epoch < self._epochs)
                cpu, gpu = self._cost()
                self._writer.update(
                    epochs_started=self._started, epochs_finished=self.kept, cpu_seconds=cpu, gpu_seconds=gpu
                )
            case _:
                pass
        self._send(event)

    def end(
        self,
        state: AttemptState,
        kind: FailureKind | None = None,
        error: BaseException | None = None,
        *,
        peak_memory_bytes: int | None = None,
    ) -> None:
        """Write how the attempt ended and what it cost."""
        seconds = time.perf_counter() - self._begun
        cpu, gpu = self._cost()
        self._writer.end(
            state,
            kind,
            error,
            seconds=seconds,
            cpu_seconds=cpu,
            gpu_seconds=gpu,
            peak_memory_bytes=peak_memory_bytes,
        )

    def _count_workers(self, cpu_seconds: float) -> None:
        """What a group tells of its workers' time is that of all attempts."""
        if self._cpu_told is None:
            self._cpu_before = cpu_seconds
        self._cpu_told = max(cpu_seconds, self._cpu_told or 0.0)

    def _cost(self) -> tuple[float, float]:
        """CPU- and GPU-seconds until now."""
        cpu = time.process_time() - self._cpu_begun
        if self._group and self._cpu_told is not None:
            cpu += self._cpu_told - self._cpu_before
        return cpu, self._gpus * (time.perf_counter() - self._begun)


def _failed(key: str, error: Exception, *, progressed: bool) -> StageOutcome:
    return StageOutcome(
        key=key,
        ending=Ending.FAILED,
        kind=failure_kind(error),
        node=error.node if isinstance(error, NodeStorageError) else None,
        message=f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000],
        signature=_signature(error),
        progressed=progressed,
    )


def failure_kind(error: BaseException) -> FailureKind:
    """What kind of failure an exception of a training is."""
    import torch

    match error:
        case NotFiniteError():
            return FailureKind.NOT_FINITE
        case StorageError():
            return FailureKind.DISK
        case WorkerError():
            return FailureKind.NODE_LOST
        case MemoryError() | torch.OutOfMemoryError():
            return FailureKind.OUT_OF_MEMORY
        case RuntimeError() if any(words in str(error).lower() for words in OUT_OF_MEMORY):
            return FailureKind.OUT_OF_MEMORY
        case TimeoutError():
            return FailureKind.TIMEOUT
        case _:
            return FailureKind.BUG


def _signature(error: BaseException) -> str:
    """The type and the innermost place: equal for the same bug in other stages."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place}"


@lru_cache(maxsize=4)
def _open_store(location: str) -> Store:
    # The driver has made it: a folder that is no store here is one that this node does not see.
    return keep_leases(Store.open(location, create=local_path(location) is None))


def _open_shop(job: StageJob, setting: StudySetting, store: Store) -> Workshop:
    """The graph, encoder and texts of a stage; a warm worker has them already.

    Raises:
        UserError: the graph or the encoder are no longer what the study was planned with.
    """
    chain = job.chain
    seed = chain.seed if chain.encoder.name == "scratch" else None
    shop = _SHOPS.get(chain, seed, bring_graph(chain.dataset.source, setting.places, store))
    facts = Facts(dataset=shop.graph.fingerprint, encoder=shop.source.fingerprint, device=setting.device)
    if job.key not in {stage.key for stage in stages_of_chain(chain, facts)}:
        raise UserError(
            f"the graph '{chain.dataset.source}' or the encoder '{chain.encoder.name}' on {os.uname().nodename} is not "
            "what the study was planned with; run it again to plan it anew"
        )
    return shop


class _Shops:
    """The workshops opened last in this process."""

    def __init__(self, at_most: int = 2) -> None:
        self._at_most = at_most
        self._open: dict[tuple[object, ...], Workshop] = {}

    def get(self, chain: ChainConfig, seed: int | None, places: Places) -> Workshop:
        wanted = (chain.dataset, chain.encoder, seed, places)
        if wanted not in self._open:
            while len(self._open) >= self._at_most:
                del self._open[next(iter(self._open))]
            self._open[wanted] = open_workshop(chain, places)
        return self._open[wanted]


_SHOPS = _Shops()
