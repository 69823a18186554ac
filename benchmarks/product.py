"""The product's own training of a student, made ready without training its teacher, and its step by phase."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.clock import Clock, Phases
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.build import build_student
from pmd_ray.model.encode import TowerPass
from pmd_ray.model.folder import ModelCard, save_model
from pmd_ray.model.operations import WITH_BACKWARD, forward_operations
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.ragged import Ints
from pmd_ray.train.batches import Batch
from pmd_ray.train.chain_stages import stages_of
from pmd_ray.train.events import silent
from pmd_ray.train.stage import Stage, _Training
from pmd_ray.train.step import Step
from pmd_ray.train.workers import Workers
from pmd_ray.train.workshop import Workshop

CPU = torch.device("cpu")
ALONE = Workers(0, 1, CPU)
PARTS: tuple[tuple[type[Any], str, str], ...] = (
    (Step, "ready", "data"),
    (Step, "_forward", "student forward"),
    (Step, "_taught", "teacher"),
    (TowerPass, "backward", "backward"),
    (Step, "_update", "optimiser"),
)
"""Whose method is which phase; what else a step does is counted as its losses."""


def untrained(chain: ChainConfig, shop: Workshop, place: int = 0) -> BiEncoder:
    """The model of a grade as it starts."""
    return build_student(chain.grades[place], chain.encoder, shop.source, teacher=None, sample=shop.sample)


def last_stage(chain: ChainConfig, shop: Workshop, folder: Path) -> Stage:
    """The stage of a chain's last grade; its teacher, an untrained one, is written to the folder."""
    stages = stages_of(chain, shop, folder, CPU)
    if len(stages) > 1:
        stage = stages[0]
        card = ModelCard(
            grade=stage.grade.name,
            stage_key=stage.key,
            layers=stage.grade.layers,
            text=chain.dataset.text,
            encoder=chain.encoder,
            temperature=stage.grade.loss.ce.temperature.init,
            self_negatives=stage.grade.loss.ce.self_negatives,
            dataset=shop.graph.name,
            dataset_source=chain.dataset.source,
            dataset_fingerprint=shop.graph.fingerprint,
        )
        save_model(stage.out / "model", untrained(chain, shop), shop.source.wordpieces, card)
    return stages[-1]


def training_of(stage: Stage, shop: Workshop, workers: Workers = ALONE) -> _Training:
    """The state of a training before its first step."""
    return _Training(stage, shop, workers, silent)


@dataclass(frozen=True)
class Product:
    """Runs steps of a training, each with the batch of its number."""

    training: _Training

    def queries(self, number: int) -> Ints:
        """[B, 3] of the step of that number."""
        return self._batch(number).queries

    def warm(self) -> None:
        """One step over few queries, so that what is made once is there: the optimiser's state, the epoch's order."""
        few = copy.copy(self.training.batches)
        few.batch = 4
        self._run(few.make(0, 0), 0)

    def step(self, number: int) -> Phases:
        """Train on one batch; CPU seconds by phase."""
        clock, begun = Clock(), time.process_time()
        with watched(clock):
            with clock.phase("data"):
                batch = self._batch(number)
            self._run(batch, number)
        whole, phases = time.process_time() - begun, clock.take()
        phases["losses"] = whole - sum(phases.values())
        return phases

    def tabulate(self, numbers: range) -> float:
        """Encode the clean texts of these steps once, where that is all that is asked of the teacher.

        A training does so for all of its graph; CPU seconds for these alone.
        """
        training = self.training
        if training.teacher is None or not training.teacher.is_constant():
            return 0.0
        begun = time.process_time()
        training.teacher.tabulate(_only(training, numbers), training.workers, lambda done, total: None)
        return time.process_time() - begun

    def operations(self, number: int) -> float:
        """Of the matrix products that a step cannot do without: its distinct texts, without padding."""
        batch, training = self._batch(number), self.training
        config = training.model.config
        live = training.teacher is not None and not training.teacher.is_constant()
        total = 0.0
        for side in (batch.hr, batch.tail):
            lengths = side.tokens.ids.lengths
            total += WITH_BACKWARD * forward_operations(lengths, config, training.model.layers)
            if live and training.teacher is not None:
                teacher = training.teacher.model
                total += forward_operations(lengths, teacher.config, teacher.layers)
        return total

    def tokens(self, number: int) -> int:
        """That a student must encode in a step, padding apart."""
        batch = self._batch(number)
        return sum(len(side.tokens.ids.values) for side in (batch.hr, batch.tail))

    def _batch(self, number: int) -> Batch:
        batches = self.training.batches
        return batches.make(0, number % batches.steps_per_epoch)

    def _run(self, batch: Batch, number: int) -> None:
        self.training.model.train()
        self.training.step.run(batch, epoch=0, step=number, done=number, detailed=False)


def _only(training: _Training, numbers: range) -> Any:
    """The training's batches as if the queries of these steps were all."""
    batches = training.batches
    order = batches.queries
    row_of = {tuple(row): place for place, row in enumerate(order.tolist())}
    product = Product(training)
    places = [row_of[tuple(row)] for number in numbers for row in product.queries(number).tolist()]
    few = copy.copy(batches)
    chosen = np.unique(np.array(places))
    few.queries = order[chosen]
    few.head_left_out, few.tail_left_out = batches.head_left_out[chosen], batches.tail_left_out[chosen]
    return few


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Every step inside is told by phase."""
    with ExitStack() as stack:
        for owner, method, phase in PARTS:
            stack.enter_context(patch.object(owner, method, _timed(getattr(owner, method), clock, phase)))
        yield


def _timed(function: Callable[..., Any], clock: Clock, phase: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        with clock.phase(phase):
            return function(*arguments, **named)

    return timed
