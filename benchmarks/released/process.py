"""The released code's steps in a process of their own, one at a time."""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

import torch

from benchmarks.clock import Phases
from benchmarks.product import Product, training_of
from benchmarks.released.beside import training_beside, triples_of
from benchmarks.released.towers import Counted
from benchmarks.released.training import Training
from pmd_ray.spec.places import Places
from pmd_ray.train.stage import Stage
from pmd_ray.train.workshop import open_workshop

_HERE: dict[str, tuple[Product, Training]] = {}
"""Of the other process: it trains one student."""


class Beside:
    """A context: at its end the process has ended.

    Args:
        stage: Whose student it trains, with the weights that the product starts with.
        cache: Of token tables.
    """

    def __init__(self, stage: Stage, cache: Path) -> None:
        self._process = ProcessPoolExecutor(1, get_context("spawn"), initializer=_prepare, initargs=(stage, cache))

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._process.shutdown()

    def step(self, number: int) -> Phases:
        """Train on the batch of that number; CPU seconds by phase."""
        return self._process.submit(_step, number).result()

    def counted(self) -> Counted:
        """What was encoded since this was asked last."""
        return self._process.submit(_counted).result()


def _prepare(stage: Stage, cache: Path) -> None:
    torch.set_num_threads(1)
    product = Product(training_of(stage, open_workshop(stage.chain, Places(cache=cache))))
    _HERE["one"] = product, training_beside(product.training)
    _counted()


def _step(number: int) -> Phases:
    product, released = _HERE["one"]
    gc.collect()  # what the last step left is not this one's to clear
    return released.step(triples_of(product.queries(number)))


def _counted() -> Counted:
    _, released = _HERE["one"]
    found, released.student.counted = released.student.counted, Counted()
    return found
