"""The released code's training step: data, student, teacher, losses, backward, optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from benchmarks.clock import Clock, Phases
from benchmarks.released.examples import Examples, Maker, Triple, collate
from benchmarks.released.towers import Towers
from pmd_ray.spec.grade import GradeConfig

Vectors = dict[str, Tensor]
STEPS = 10_000
"""Of the learning rate's schedule: any number does."""


class Training:
    """Trains a student, beside a teacher or alone.

    Args:
        teacher: Frozen; None trains a teacher.
        maker: Makes the examples.
    """

    def __init__(self, student: Towers, teacher: Towers | None, maker: Maker, grade: GradeConfig) -> None:
        self.student, self.teacher, self.maker = student, teacher, maker
        self._loss, self._clip = grade.loss, grade.optimiser.clip
        if teacher is not None:
            teacher.eval().requires_grad_(False)
        # Everything decays: LayerNorm, biases and the temperature too.
        self._optimiser = torch.optim.AdamW(
            student.parameters(), lr=grade.optimiser.lr, weight_decay=grade.optimiser.weight_decay, foreach=False
        )
        warm = grade.optimiser.warmup_steps
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimiser, lambda step: step / warm if step < warm else max(0.0, (STEPS - step) / (STEPS - warm))
        )

    def step(self, triples: Sequence[Triple]) -> Phases:
        """Train on one batch; CPU seconds by phase."""
        clock = Clock()
        with clock.phase("data"):
            batch = self.batch(triples)
        self.student.train()
        with clock.phase("student forward"):
            mine = self.student(batch, "student_")
        theirs = None
        if self.teacher is not None:
            with clock.phase("teacher"):
                theirs = self.teacher(batch)
        with clock.phase("losses"):
            total = self.losses(mine, theirs, batch["triplet_mask"])["total"]
        with clock.phase("backward"):
            self._optimiser.zero_grad()
            torch.autograd.backward(total)
        with clock.phase("optimiser"):
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), self._clip)
            self._optimiser.step()
            self._schedule.step()
        return clock.take()

    def batch(self, triples: Sequence[Triple]) -> dict[str, Any]:
        """Tokenised, masked and padded."""
        examples = Examples(triples, self.maker)
        made = [examples[place] for place in range(len(examples))]
        return collate(made, self.maker.links, self.maker.tokenizer.pad_token_id)

    def losses_of(self, triples: Sequence[Triple]) -> dict[str, Tensor]:
        """The losses of a batch, nothing trained."""
        batch = self.batch(triples)
        self.student.train()
        theirs = None if self.teacher is None else self.teacher(batch)
        return self.losses(self.student(batch, "student_"), theirs, batch["triplet_mask"])

    def losses(self, mine: Vectors, theirs: Vectors | None, allowed_BB: Tensor) -> dict[str, Tensor]:
        """Each part and the total."""
        logits_BB = self.student.logits(mine, allowed_BB)
        labels_B = torch.arange(len(logits_BB))
        label = cross_entropy(logits_BB, labels_B) + cross_entropy(logits_BB.t(), labels_B)
        if self.teacher is None or theirs is None:
            return {"label": label, "total": label}
        score = mse_loss(logits_BB, self.teacher.logits(theirs, allowed_BB))
        feature = mse_loss(mine["hr_masked"], theirs["hr_masked"])
        feature = feature + mse_loss(mine["tail_masked"], theirs["tail_masked"])
        alpha, beta = self._loss.alpha, self._loss.beta
        total = (1 - alpha - beta) * label + alpha * score + beta * feature
        return {"label": label, "score": score, "feature": feature, "total": total}
