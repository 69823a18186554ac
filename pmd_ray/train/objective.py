"""The loss of a grade over a global batch: label, score and feature parts, weighted (PMD, Eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.losses import Product, Scores, Setting, States, cells_at_once
from pmd_ray.model.losses.label import label_loss
from pmd_ray.model.outputs import Facts, Outputs
from pmd_ray.spec import plugins
from pmd_ray.spec.grade import GradeConfig


@dataclass(frozen=True)
class Views:
    """Outputs of one model as each loss reads them; equal views are the same object."""

    label: Outputs
    score: Outputs
    feature: Outputs


class Objective(nn.Module):
    """Combines the losses; holds what they learn themselves (projectors, uncertainties)."""

    def __init__(self, grade: GradeConfig, setting: Setting | None) -> None:
        super().__init__()
        loss = grade.loss
        self.config = loss
        self.has_score = setting is not None and loss.alpha > 0
        self.has_feature = setting is not None and loss.beta > 0
        self.student_states = self.teacher_states = States()
        self.feature: nn.Module | None = None
        if setting is not None and self.has_feature:
            self.student_states, self.teacher_states = states_asked(grade, setting)
            self.feature = plugins.load("loss", loss.feature.name).make(loss.feature, setting)
        if setting is not None and self.has_score:
            self.score = plugins.load("loss", loss.score.name).make(loss.score, setting)
        parts = 1 + self.has_score + self.has_feature
        adaptive = loss.combination == "adaptive" and setting is not None
        # s = log variance of each part (Kendall et al. 2018).
        self.log_variance = nn.Parameter(torch.zeros(parts)) if adaptive else None

    @property
    def weights(self) -> dict[str, float]:
        """The fixed weight of each part."""
        loss = self.config
        label = 1.0
        if loss.combination == "convex":
            label -= loss.alpha * self.has_score + loss.beta * self.has_feature
        weights = {"label": label}
        if self.has_score:
            weights["score"] = loss.alpha
        if self.has_feature:
            weights["feature"] = loss.beta
        return weights

    def parts(
        self, student: BiEncoder, views: Views, teacher: BiEncoder | None, taught: Views | None, facts: Facts
    ) -> dict[str, Tensor]:
        """Each part of the loss, unweighted."""
        parts = {"label": label_loss(self._scores(student, views.label, facts, earlier=True), self.config.ce)}
        if teacher is not None and taught is not None:
            if self.has_score:
                # Both models' scores are built from the same facts and flags, so that their shapes cannot differ
                # (released code: B + 1 columns against B with a SimKGC teacher; method notes, C1, C16).
                ours = self._scores(student, views.score, facts)
                parts["score"] = self.score(ours, self._scores(teacher, taught.score, facts))
            if self.feature is not None:
                parts["feature"] = self.feature(views.feature, taught.feature, facts)
        return parts

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """The weighted sum."""
        return torch.stack(list(self.weighted(parts).values())).sum()

    def weighted(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each part times its weight, fixed or learnt."""
        if self.log_variance is None:
            weights = self.weights
            return {name: weights[name] * value for name, value in parts.items()}
        result = {}
        for (name, value), log_variance in zip(parts.items(), self.log_variance.clamp(-8.0, 8.0), strict=True):
            # Cross-entropy counts once, squared gaps half (Kendall et al. 2018, Eq. 7 and 10).
            factor = 1.0 if name == "label" else 0.5
            result[name] = factor * value * torch.exp(-log_variance) + log_variance / 2
        return result

    def _scores(self, model: BiEncoder, outputs: Outputs, facts: Facts, *, earlier: bool = False) -> Scores:
        return scores_of(
            outputs,
            facts,
            inverse_t=model.inverse_t,
            margin=self.config.ce.margin,
            earlier_weight=self.config.ce.pre_batch_weight if earlier else None,
        )


def states_asked(grade: GradeConfig, setting: Setting) -> tuple[States, States]:
    """Hidden states that a grade's losses ask of the student and of the teacher."""
    if not grade.loss.beta > 0:
        return States(), States()
    asked: tuple[States, States] = plugins.load("loss", grade.loss.feature.name).needs(grade.loss.feature, setting)
    return asked


def scores_of(
    outputs: Outputs, facts: Facts, *, inverse_t: Tensor, margin: float, earlier_weight: float | None
) -> Scores:
    """Cosines of all queries with all answers of the batch, and with heads and earlier tails where there are any.

    Args:
        earlier_weight: Of the logits of earlier tails, which the label loss alone reads (SimKGC); None leaves them out.
    """
    hr_BD = outputs.hr.pooled_UD[facts.rows["hr"]]
    tail_BD = outputs.tail.pooled_UD[facts.rows["tail"]]
    head_cosine_B = earlier_BN = None
    if "head" in facts.rows:
        head_cosine_B = (hr_BD * outputs.tail.pooled_UD[facts.rows["head"]]).sum(-1)
    if earlier_weight is not None and facts.earlier_ND is not None:
        earlier_BN = Product(hr_BD, facts.earlier_ND)
    cosine_BB = Product(hr_BD, tail_BD)
    columns = len(tail_BD) + (0 if earlier_BN is None else len(earlier_BN.right_CD))
    by_rows = len(hr_BD) * columns > cells_at_once(hr_BD.device)
    return Scores(
        cosine_RB=cosine_BB if by_rows else cosine_BB[:],
        inverse_t=inverse_t,
        margin=margin,
        negative_RB=facts.negative_BB,
        head_cosine_R=head_cosine_B,
        head_negative_R=facts.head_negative_B,
        earlier_cosine_RN=earlier_BN if earlier_BN is None or by_rows else earlier_BN[:],
        earlier_negative_RN=facts.earlier_negative_BN,
        earlier_weight=earlier_weight or 1.0,
    )
