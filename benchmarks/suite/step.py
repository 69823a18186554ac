"""One training step by phase: data, student forward, teacher, losses, backward, optimiser.

Both take the same queries in the same order, with the encoder's own dropout; teacher and student are layers of the
encoder as it comes. The limit is that of the tokens of distinct texts (of every occurrence where each has a mask of
its own): forward and backward of the student, forward of a teacher that must run each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.clock import Phases, interleaved
from benchmarks.inputs import Asked
from benchmarks.limit import Rate
from benchmarks.product import Product, last_stage, training_of
from benchmarks.record import Case, shares
from benchmarks.released.beside import training_beside, triples_of
from benchmarks.released.towers import Counted


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


def product_of(work: Work, batch: int, asked: Asked) -> Product:
    """The product's own training of one kind of student."""
    chain = asked.chain(
        work.graph,
        layers=list(work.layers),
        mask_rates=[work.rate] * (len(work.layers) - 1),
        mask__per=work.per,
        optimiser__batch=batch,
    )
    shop = asked.shop(chain)
    return Product(training_of(last_stage(chain, shop, asked.folder()), shop))


def one(work: Work, batch: int, asked: Asked) -> Case:
    """One kind of student at one batch."""
    product = product_of(work, batch, asked)
    released = training_beside(product.training)
    steps = range(asked.repeat)
    table = product.tabulate(steps)
    triples = [triples_of(product.queries(number)) for number in steps]
    product.warm()
    released.step(triples[0][:4])
    count = released.student.counted = Counted()
    rate = Rate()

    def plain_step(number: int) -> Phases:
        return released.step(triples[number])

    times = interleaved({"ours": product.step, "plain": plain_step, "rate": rate.measure}, asked.repeat)
    ours, plain = times["ours"], times["plain"]
    queries = sum(map(len, triples))
    return Case(
        name=f"step: {work.name}",
        data=product.training.shop.graph.name,
        batch=len(triples[0]),
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
