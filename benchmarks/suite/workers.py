"""A step of two workers against a step of one with the same global batch, each worker on one core, over gloo.

`ours` is the busier of the two, `plain` is one worker alone, the limit half of that. Steps of one and of two take
turns; CPU seconds do not tell what workers wait for each other, so wall-clock seconds are told too.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from benchmarks.inputs import Asked
from benchmarks.product import ALONE, CPU, Product, last_stage, training_of
from benchmarks.record import Case
from pmd_ray.spec.places import Places
from pmd_ray.train.stage import Stage
from pmd_ray.train.workers import Workers
from pmd_ray.train.workshop import open_workshop

PATIENCE_S = 3600.0


def cases(asked: Asked) -> Iterator[Case]:
    """6 -> 3 at mask 0.2 on texts with neighbours."""
    for batch in asked.sizes((64, 256), (8,)):
        if asked.wants("workers: 2 against 1"):
            yield one(batch, asked)


def one(batch: int, asked: Asked) -> Case:
    """One batch."""
    chain = asked.chain("WN18RR", layers=[6, 3], mask_rates=[0.2], mask__per="text", optimiser__batch=batch)
    shop, folder = asked.shop(chain), asked.folder()
    stage = last_stage(chain, shop, folder)
    context = multiprocessing.get_context("spawn")
    turns = context.Barrier(3)
    cache = asked.tokens
    roles = ((0, 1), (0, 2), (1, 2))
    processes = [
        context.Process(target=body, args=(rank, size, stage, cache, folder, asked.repeat, turns), daemon=True)
        for rank, size in roles
    ]
    for process in processes:
        process.start()
    _wait_for(processes)
    alone, first, second = (json.loads(_result(folder, rank, size).read_text()) for rank, size in roles)
    cpu = [max(pair) for pair in zip(first["cpu"], second["cpu"], strict=True)]
    walls = statistics.median(alone["wall"]), statistics.median(first["wall"])
    plain = statistics.median(alone["cpu"])
    return Case(
        name="workers: 2 against 1",
        data=shop.graph.name,
        batch=batch,
        ours_cpu_s=statistics.median(cpu),
        plain_cpu_s=plain,
        limit_cpu_s=plain / 2,
        more={"wall_s": walls[1], "alone_wall_s": walls[0], "wall_ratio": walls[0] / walls[1], "repeat": asked.repeat},
    )


def body(rank: int, size: int, stage: Stage, cache: Path, folder: Path, repeat: int, turns: Any) -> None:
    """One worker: it trains when it is its group's turn, and writes what each step cost."""
    torch.set_num_threads(1)
    workers = ALONE
    if size > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder / 'gloo'}", rank=rank, world_size=size
        )
        workers = Workers.current(CPU)
    product = Product(training_of(stage, open_workshop(stage.chain, Places(cache=cache)), workers))
    product.warm()
    spent: dict[str, list[float]] = {"cpu": [], "wall": []}
    for number in (0, *range(repeat)):  # the first large step pays for its memory, and is not counted
        for turn in (1, 2):
            turns.wait(PATIENCE_S)
            if turn == size:
                begun, cpu = time.perf_counter(), time.process_time()
                product.step(number)
                spent["cpu"].append(time.process_time() - cpu)
                spent["wall"].append(time.perf_counter() - begun)
    spent = {clock: seconds[1:] for clock, seconds in spent.items()}
    _result(folder, rank, size).write_text(json.dumps(spent))
    if size > 1:
        torch.distributed.destroy_process_group()


def _wait_for(processes: Sequence[Any]) -> None:
    """Until all have ended well; where one has not, the others would wait for it, and are ended."""
    while any(process.exitcode is None for process in processes):
        time.sleep(0.1)
        if any(process.exitcode for process in processes):
            break
    codes = [process.exitcode for process in processes]
    if any(code != 0 for code in codes):
        for process in processes:
            process.kill()
        raise RuntimeError(f"a worker failed; exit codes {codes}")


def _result(folder: Path, rank: int, size: int) -> Path:
    return folder / f"worker-{rank}-of-{size}.json"
