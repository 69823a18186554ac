"""Tokenising a graph once, starting again from its table, and assembling batches, against an epoch of `__getitem__`.

An epoch of the released code is measured on some of its examples and scaled to all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.clock import interleaved
from benchmarks.inputs import Asked
from benchmarks.product import Product, last_stage, training_of
from benchmarks.record import Case
from benchmarks.released.beside import training_beside, triples_of
from pmd_ray.kg.known import with_inverses
from pmd_ray.train.workshop import open_texts

EXAMPLES = 512
"""Of the released code's epoch that are measured."""


def cases(asked: Asked) -> Iterator[Case]:
    """Once, again, and by batch."""
    chain = asked.chain("WN18RR", layers=[6, 3], mask_rates=[0.2], mask__per="text", optimiser__batch=64)
    shop = asked.shop(chain)
    released = training_beside(training_of(last_stage(chain, shop, asked.folder()), shop))
    queries = with_inverses(shop.graph.train, shop.graph.num_relations)
    count = min(64 if asked.small else EXAMPLES, len(queries))
    some = triples_of(queries[np.linspace(0, len(queries) - 1, count).astype(int)])
    cache = asked.folder()

    def again(number: int) -> None:
        open_texts(shop.graph, shop.source.wordpieces, chain.dataset.text, cache)

    def first(number: int) -> None:
        _empty(cache)
        again(number)

    def epoch(number: int) -> None:
        for triple in some:
            released.maker.vectorise(triple)

    ways: dict[str, Callable[[int], None]] = {"first": first, "again": again, "epoch": epoch}
    times = interleaved(ways, asked.repeat)
    plain = times["epoch"].seconds * len(queries) / len(some)
    more = {"plain_ms_an_example": 1000 * times["epoch"].seconds / len(some), "examples": len(queries)}
    for name, way in (("tokenise: once, then written", "first"), ("tokenise: opened again", "again")):
        if asked.wants(name):
            ours = times[way].seconds
            yield Case(name=name, data=shop.graph.name, batch=None, ours_cpu_s=ours, plain_cpu_s=plain, more=more)
    for batch in asked.sizes((64, 256, 1024), (8,)):
        if asked.wants("tokenise: a batch"):
            yield _assembled(batch, asked)


def _assembled(batch: int, asked: Asked) -> Case:
    """A batch of tokens with its masks, from the table, and made anew."""
    chain = asked.chain("WN18RR", layers=[6, 3], mask_rates=[0.2], mask__per="text", optimiser__batch=batch)
    shop = asked.shop(chain)
    product = Product(training_of(last_stage(chain, shop, asked.folder()), shop))
    released = training_beside(product.training)
    triples = [triples_of(product.queries(number)) for number in range(asked.repeat)]

    def ours(number: int) -> None:
        product.training.batches.make(0, number)

    def plain(number: int) -> None:
        released.batch(triples[number])

    times = interleaved({"ours": ours, "plain": plain}, asked.repeat)
    return Case(
        name="tokenise: a batch",
        data=shop.graph.name,
        batch=len(triples[0]),
        ours_cpu_s=times["ours"].seconds,
        plain_cpu_s=times["plain"].seconds,
    )


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
