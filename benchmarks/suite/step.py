"""One training step by phase: data, student forward, teacher, losses, backward, optimiser.

Both take the same queries in the same order, with the encoder's own dropout; teacher and student are layers of the
encoder as it comes. They take turns, the released code in a process of its own, as either would be used: side by side
in one, each would pay for the memory that the other has just given back. The limit is that of the tokens of distinct
texts (of every occurrence where each has a mask of its own): forward and backward of the student, forward of a
teacher that must run each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.clock import interleaved
from benchmarks.inputs import Asked
from benchmarks.limit import Rate
from benchmarks.product import Product, last_stage, training_of
from benchmarks.record import Case, shares
from benchmarks.released.process import Beside
from pmd_ray.train.stage import Stage
from pmd_ray.train.workshop import Workshop


@dataclass(frozen=True)
class Work:
    """What is trained."""

    name: str
    graph: str
    layers: tuple[int, ...]
    rate: float
    batches: tuple[int, ...]
    per: str = "text"


WORKS = (
    Work("plain teacher, 6 layers", "WN18RR", (6,), 0.0, (64, 256)),
    Work("6 -> 6, mask 0.2", "WN18RR", (6, 6), 0.2, (64, 256)),
    Work("6 -> 3, mask 0.2", "WN18RR", (6, 3), 0.2, (64, 256)),
    Work("6 -> 3, mask 0", "WN18RR", (6, 3), 0.0, (64, 256)),
    Work("6 -> 3, mask 0.2", "UMLS", (6, 3), 0.2, (256, 512)),
    Work("6 -> 3, mask 0.2, per occurrence", "UMLS", (6, 3), 0.2, (256, 512), "occurrence"),
)
SMALL = WORKS[2:4]


def cases(asked: Asked) -> Iterator[Case]:
    """Every kind of student at each batch."""
    for work, batch in works("step", asked):
        yield one(work, batch, asked)


def works(name: str, asked: Asked) -> Iterator[tuple[Work, int]]:
    """The kinds that are asked for, at their batches."""
    for work in SMALL if asked.small else WORKS:
        if asked.wants(f"{name}: {work.name}, {work.graph}"):
            for batch in asked.sizes(work.batches, (8,)):
                yield work, batch


def stage_of(work: Work, batch: int, asked: Asked) -> tuple[Stage, Workshop]:
    """The product's own stage of one kind of student, and where it is trained."""
    chain = asked.chain(
        work.graph,
        layers=list(work.layers),
        mask_rates=[work.rate] * (len(work.layers) - 1),
        mask__per=work.per,
        optimiser__batch=batch,
    )
    shop = asked.shop(chain)
    return last_stage(chain, shop, asked.folder()), shop


def one(work: Work, batch: int, asked: Asked) -> Case:
    """One kind of student at one batch."""
    stage, shop = stage_of(work, batch, asked)
    product = Product(training_of(stage, shop))
    steps, rate = range(asked.repeat), Rate()
    table = product.tabulate(steps)
    with Beside(stage, asked.tokens) as beside:
        product.warm()
        product.step(0)  # the first large step pays for the memory of all: seconds of page faults
        beside.step(0)
        beside.counted()
        times = interleaved({"ours": product.step, "plain": beside.step, "rate": rate.measure}, asked.repeat)
        count = beside.counted()
    ours, plain = times["ours"], times["plain"]
    queries = sum(len(product.queries(number)) for number in steps)
    return Case(
        name=f"step: {work.name}",
        data=shop.graph.name,
        batch=len(product.queries(0)),
        ours_cpu_s=ours.seconds,
        plain_cpu_s=plain.seconds,
        limit_cpu_s=rate.seconds(sum(map(product.operations, steps)) / len(steps)),
        more={
            "ours_shares": shares(ours.phases),
            "plain_shares": shares(plain.phases),
            "ours_phases_s": ours.phases,
            "plain_phases_s": plain.phases,
            "teacher_once_cpu_s": table / len(steps),
            "needed_tokens": sum(map(product.tokens, steps)) / len(steps),
            "plain_padded_tokens": count.padded_tokens / len(steps),
            "plain_encodings_a_triple": count.encodings / queries,
            "gflops_a_cpu_s": rate.per_second / 1e9,
            "repeat": asked.repeat,
        },
    )
