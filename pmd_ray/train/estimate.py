"""How long a chain will take on this machine, from counted tokens and a measured matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pmd_ray.model.losses import Setting
from pmd_ray.model.operations import product_rate
from pmd_ray.spec.ragged import TokenRows
from pmd_ray.train.batches import Batches, MaskWords
from pmd_ray.train.checkpoint import Progress, read_progress
from pmd_ray.train.events import ChainPlanned
from pmd_ray.train.objective import states_asked
from pmd_ray.train.stage import Stage, stored_result
from pmd_ray.train.teacher import is_constant
from pmd_ray.train.workshop import Workshop

EFFICIENCY = 0.65
"""Share of the plain product's rate that a training step reaches (measured 0.65 to 0.8 on two busy cores)."""
WEIGHT_S = 1.5e-9
"""Seconds of optimiser work for each weight and step."""
STAGE_S = 6.0
"""Seconds of building, checkpoints and files for each stage."""
SAMPLED_STEPS = 3


def planned(stages: Sequence[Stage], shop: Workshop, device: torch.device) -> ChainPlanned:
    """The trainings that are left of a chain, and about how many seconds they will take."""
    layers = {stage.grade.name: stage.grade.layers for stage in stages}
    left = [stage for stage in stages if stored_result(stage.out, stage.key) is None]
    rate = product_rate(shop.source.width, device) * EFFICIENCY if left else 0.0
    seconds = 0.0
    for stage in left:
        teacher = layers[stage.teacher_name] if stage.teacher_name else 0
        progress = read_progress(stage.work, stage.key) or Progress(key=stage.key)
        seconds += _stage_seconds(stage, shop, teacher, rate, epochs_done=progress.epoch)
    return ChainPlanned("", names=tuple(stage.grade.name for stage in left), seconds=seconds)


def _stage_seconds(stage: Stage, shop: Workshop, teacher_layers: int, rate: float, *, epochs_done: int) -> float:
    grade, graph, texts = stage.grade, shop.graph, shop.texts
    pieces = shop.source.wordpieces
    batches = Batches(texts, grade, MaskWords(pieces.mask, pieces.size), seed=0, watches=False)
    steps = batches.steps_per_epoch * (grade.optimiser.epochs - epochs_done)
    sampled = [batches.make(0, step) for step in range(min(SAMPLED_STEPS, batches.steps_per_epoch))]
    tokens = sum(_tokens(b.hr.tokens) + _tokens(b.tail.tokens) for b in sampled) / max(1, len(sampled))
    mask = grade.mask
    sights = 2 if mask.rate and teacher_layers and (mask.for_ce == "clean" or mask.for_score == "clean") else 1
    width = shop.source.width
    # A layer has 12 D^2 weights; each costs two operations a token, and twice as many again backward.
    layer = 2 * 12 * width * width
    student = steps * tokens * grade.layers * layer * 3 * sights
    if grade.optimiser.micro_batch is not None:
        student *= 4 / 3
    once = encoded_once(stage, shop, teacher_layers=teacher_layers)
    tabulated = len(batches.queries) * tokens / batches.batch
    taught = min(tabulated, steps * tokens) if once else steps * tokens
    ranked = graph.num_entities + 2 * (len(graph.valid) * (grade.optimiser.epochs - epochs_done) + len(graph.test))
    validated = ranked * tokens / (2 * batches.batch) * grade.layers * layer
    weights = 2 * (grade.layers * layer / 2 + pieces.size * width)
    operations = student + taught * teacher_layers * layer + validated
    return float(operations / rate + steps * weights * WEIGHT_S + STAGE_S)


def encoded_once(stage: Stage, shop: Workshop, *, teacher_layers: int) -> bool:
    """Whether a stage's teacher encodes each text once, not in every epoch; one that is asked nothing does no more."""
    grade, width = stage.grade, shop.source.width
    if not (grade.loss.alpha > 0 or grade.loss.beta > 0):
        return True
    setting = Setting(grade.layers, teacher_layers, width, width, grade.mask.loss_sequences)
    return is_constant(grade, states_asked(grade, setting)[1])


def _tokens(rows: TokenRows) -> int:
    return len(rows.ids.values)
