"""A tiny chain on a tiny graph: a grade trains in a second, in this process or in one that is killed on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.write import write_graph
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.places import Places
from pmd_ray.spec.results import GradeResult
from pmd_ray.train.chain_stages import stages_of
from pmd_ray.train.checkpoint import Progress
from pmd_ray.train.events import EpochDone, Event, StepDone
from pmd_ray.train.stage import Stage, train_stage
from pmd_ray.train.workers import Workers
from pmd_ray.train.workshop import Workshop, open_workshop
from reference import small

CPU = torch.device("cpu")
ALONE = Workers(0, 1, CPU)
ANY = GradeConfig(name="any", layers=1)
Seconds = float
PRELOADED = [
    "pmd_ray.train.chain_stages",
    "transformers.models.bert.modeling_bert",
    "pandas",  # pyarrow imports it where it is there
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.summary.writer.record_writer",
]
PATIENCE: Seconds = 120.0
"""For a process that is to reach a moment, on a busy machine."""


@cache
def graph() -> Graph:
    """70 training, 10 validation and 10 test triples of the dense graph."""
    dense = small.dense_graph()
    every = dense.train[dense.train[:, 0] != dense.train[:, 2]]
    return replace(dense, name="tiny", train=every[:64], valid=every[64:74], test=every[74:])


def written_graph(folder: Path) -> Path:
    """The graph as a folder in the canonical layout."""
    place = folder / "tiny"
    write_graph(graph(), place, "made by tests/reference/tiny_chain.py")
    return place


def config(
    source: Path, *, preset: str = "pmd_scaled", layers: tuple[int, ...] = (3, 2), **settings: Any
) -> ChainConfig:
    """A chain of scratch encoders of width 32; settings are dotted keys with `__` for dots."""
    own: dict[str, Any] = {
        "layers": list(layers),
        "dataset.source": str(source),
        "dataset.text.max_tokens": 24,
        "encoder": {"name": "scratch", "scratch": {"layers": 4, "width": 32, "heads": 4, "vocabulary": 150}},
        "optimiser": {"epochs": 3, "batch": 32, "lr": 1e-3, "warmup_steps": 2, "clip": 1e6},
        "seed": 7,
    }
    if len(layers) > 1:
        own["mask_rates"] = [0.2] * (len(layers) - 1)
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return build_chain([{"preset": preset}, own, dotted], source="test")


@dataclass(frozen=True)
class Tiny:
    """A chain with its open workshop and stages."""

    chain: ChainConfig
    shop: Workshop
    stages: list[Stage]

    def train(self, place: int = 0, **options: Any) -> GradeResult:
        """Train one stage in this process."""
        return train_stage(self.stages[place], self.shop, workers=ALONE, **options)


@cache
def _workshop(chain: str) -> Workshop:
    """Opened once for all chains of a graph and encoder; nobody writes to it."""
    return open_workshop(ChainConfig.model_validate_json(chain), Places())


def tiny(source: Path, out: Path, **settings: Any) -> Tiny:
    """A chain over a written graph that trains into `out`."""
    chain = config(source, **settings)
    shop = _workshop(
        ChainConfig(dataset=chain.dataset, encoder=chain.encoder, grades=(ANY,), seed=chain.seed).model_dump_json()
    )
    return Tiny(chain, shop, stages_of(chain, shop, out, CPU))


@dataclass(frozen=True)
class Moment:
    """Where a training process stops and waits for its end."""

    kind: str
    """`step`: after so many updates; `rename`: the checkpoint of that epoch is written and not yet renamed;
    `best`: the best file of that epoch is written and its checkpoint is not; `never`."""
    number: int = 0
    leaving: int | None = None
    """After so many updates the machine is about to be taken away."""


def train_aside(stage: Stage, flag: Path, history: Path, moment: Moment) -> None:
    """The body of a training process: it says in `flag` that the moment has come, then waits."""
    torch.set_num_threads(1)
    _set_trap(moment, lambda: _wait_for_the_end(flag))
    events: list[Event] = []
    steps = 0

    def leaving() -> bool:
        return moment.leaving is not None and steps >= moment.leaving

    def listen(event: Event) -> None:
        nonlocal steps
        events.append(event)
        steps = event.done if isinstance(event, StepDone) else steps
        if moment.kind == "step" and isinstance(event, StepDone) and event.done == moment.number:
            _wait_for_the_end(flag)

    def after_epoch(progress: Progress) -> None:
        told = [event.valid_mrr for event in events if isinstance(event, EpochDone)]
        history.write_text(json.dumps({"progress": asdict(progress), "told": told}))

    shop = open_workshop(stage.chain, Places())
    train_stage(stage, shop, workers=ALONE, listen=listen, after_epoch=after_epoch, leaving=leaving)


def _set_trap(moment: Moment, wait: Callable[[], None]) -> None:
    from pmd_ray.train import checkpoint
    from pmd_ray.train import stage as stage_module

    names = vars(stage_module)
    sync, save = checkpoint.sync_tree, names["save_checkpoint"]

    def slow_sync(folder: Path) -> None:
        sync(folder)
        if moment.kind == "rename" and folder.name.startswith(f".epoch-{moment.number:04d}."):
            wait()

    def slow_save(folder: Path, progress: Progress, **parts: Any) -> None:
        if moment.kind == "best" and progress.epoch == moment.number:
            assert (folder / f"best-{moment.number:04d}.safetensors").is_file()
            wait()
        save(folder, progress, **parts)

    checkpoint.sync_tree = slow_sync
    names["save_checkpoint"] = slow_save


def _wait_for_the_end(flag: Path) -> None:
    flag.touch()
    time.sleep(PATIENCE)
    raise AssertionError("nobody killed this process")


def start(body: Callable[..., None], *arguments: Any) -> Any:
    """Start a process of a server that has imported what is slow once; it knows nothing of this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=body, args=arguments, daemon=True)
    process.start()
    return process


def train_to_the_end(stage: Stage, folder: Path) -> dict[str, Any]:
    """Train in a process of its own; its history."""
    history = folder / "history.json"
    process = start(train_aside, stage, folder / "flag", history, Moment("never"))
    process.join(PATIENCE)
    assert process.exitcode == 0, process.exitcode
    found: dict[str, Any] = json.loads(history.read_text())
    return found


def train_and_kill(stage: Stage, folder: Path, moment: Moment) -> None:
    """Train in a process of its own, and kill that at the moment."""
    flag = folder / "flag"
    process = start(train_aside, stage, flag, folder / "killed.json", moment)
    limit = time.monotonic() + PATIENCE
    while not flag.exists():
        assert process.is_alive(), f"ended before {moment}, exit code {process.exitcode}"
        assert time.monotonic() < limit, f"never came to {moment}"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
