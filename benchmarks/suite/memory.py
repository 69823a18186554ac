"""Peak memory of a step with gradient caching from small batches to large ones, each in a process of its own.

The released code keeps the whole batch's graph: its own peak stands beside the first batch's. What a process held
before its step is told too.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.inputs import Asked
from benchmarks.product import Product, last_stage, training_of
from benchmarks.record import Case
from benchmarks.released.beside import training_beside, triples_of
from pmd_ray.spec.places import Places
from pmd_ray.train.costs import PeakMemory
from pmd_ray.train.stage import Stage
from pmd_ray.train.workshop import open_workshop

MICRO_BATCH, SMALL_MICRO_BATCH = 64, 8
MEGA = 1 << 20


def cases(asked: Asked) -> Iterator[Case]:
    """6 -> 3 at mask 0.2 on texts with neighbours, groups of at most 64 texts (and 1,024 tokens)."""
    least: float | None = None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        for batch in asked.sizes((256, 1024, 4096), (16, 64)):
            if not asked.wants("memory: gradient caching"):
                continue
            chain = asked.chain(
                "WN18RR",
                layers=[6, 3],
                mask_rates=[0.2],
                mask__per="text",
                optimiser__batch=batch,
                optimiser__micro_batch=SMALL_MICRO_BATCH if asked.small else MICRO_BATCH,
            )
            shop = asked.shop(chain)
            stage = last_stage(chain, shop, asked.folder())
            cpu, before, peak, queries = processes.submit(one, stage, asked.tokens).result()
            beside = {} if least else {"plain_peak_mb": processes.submit(plain, stage, asked.tokens).result() / MEGA}
            least = peak if least is None else least
            yield Case(
                name="memory: gradient caching",
                data=shop.graph.name,
                batch=queries,
                ours_cpu_s=cpu,
                more={"peak_mb": peak / MEGA, "before_mb": before / MEGA, "over_first": peak / least, **beside},
            )


def one(stage: Stage, cache: Path) -> tuple[float, int, int, int]:
    """A step: CPU seconds, bytes before it and at its peak, queries."""
    torch.set_num_threads(1)
    product = Product(training_of(stage, open_workshop(stage.chain, Places(cache=cache))))
    product.warm()
    queries = len(product.queries(0))
    memory = PeakMemory()
    before = memory.resident() or 0
    cpu = sum(product.step(0).values())
    return cpu, before, memory.resident() or 0, queries


def plain(stage: Stage, cache: Path) -> int:
    """Bytes at the peak of the released code's step over the same batch."""
    torch.set_num_threads(1)
    product = Product(training_of(stage, open_workshop(stage.chain, Places(cache=cache))))
    released, memory = training_beside(product.training), PeakMemory()
    released.step(triples_of(product.queries(0)))
    return memory.resident() or 0
