"""The student's score matrix against the teacher's (PMD, Eq. 3 and 5).

The released code compares logits scaled by each model's own temperature, which is about 400 times the paper's squared
cosine gap; takes the margin off the student's diagonal only; and averages the zeros of false negatives in (method
notes, 2.5, C13 to C15). Each is an option.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pmd_ray.model.losses import Scores, Setting, mean_over, over_rows
from pmd_ray.spec.loss import LossOptions

if TYPE_CHECKING:
    from torch import Tensor

ROLE = "score"


class Options(LossOptions):
    """Options of the score loss."""

    name: Literal["scores"] = "scores"
    space: Literal["logits", "cosine", "softmax_kl", "margin"] = "logits"
    """Squared gap of logits, each model's own temperature (released code); of cosines (PMD, Eq. 3 and 5); KL of the
    softmax over candidates (Hinton et al. 2015; PMD's LKD); squared gap of positive-minus-negative cosines
    (Margin-MSE, Hofstaetter et al. 2020)."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Divides logits under softmax_kl; the loss is multiplied by its square."""
    margin: Literal["none", "student", "both"] = "none"
    """Whose diagonal the additive margin is taken off. Source: released code (student: a constant offset of
    margin / t between the two models' positives)."""
    diagonal: bool = True
    """Compare the positives too. Source: paper and code (true)."""
    false_negatives: Literal["exclude", "zero", "keep"] = "exclude"
    """Leave known answers out of the mean; count them as zero gaps (released code); or compare them too."""
    self_negative_column: Literal["follow_ce", "exclude"] = "follow_ce"
    """Compare the self-negative column where the label loss has one. Source: released code (follow_ce)."""
    directions: Literal["once", "both"] = "once"
    """Softmax over tails only, or over queries too. Gaps of matrices are the same both ways. Source: paper and code."""


def make(options: Options, setting: Setting) -> Callable[[Scores, Scores], Tensor]:
    """The loss as a function of the student's and the teacher's scores."""

    def loss(student: Scores, teacher: Scores) -> Tensor:
        return score_loss(student, teacher, options)

    return loss


def score_loss(student: Scores, teacher: Scores, options: Options) -> Tensor:
    """Mean gap over the compared pairs; `teacher` carries no gradient."""
    read = partial(_matrices, options=options)
    if options.space == "softmax_kl":
        value = partial(_kl, temperature=options.temperature)
        return mean_over(read, value, student, teacher, columns=options.directions == "both")
    (found,) = over_rows(read, _gaps_below_positive if options.space == "margin" else _gaps, student, teacher)
    return found[0] / found[1].clamp(min=1)


def _matrices(student: Scores, teacher: Scores, options: Options) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student's and teacher's values [R, C], which of them are compared, and which are counted in the mean."""
    student_RC, kept_RC, counted_RC = _matrix(student, options, margin=options.margin != "none")
    teacher_RC, _, _ = _matrix(teacher, options, margin=options.margin == "both")
    return student_RC, teacher_RC, kept_RC, counted_RC


def _gaps(student_RC: Tensor, teacher_RC: Tensor, kept_RC: Tensor, counted_RC: Tensor, *, first: int) -> Tensor:
    """[2] the squared gaps of what is compared, summed, and how many count."""
    import torch

    gap_RC = (student_RC - teacher_RC).square().masked_fill(~kept_RC, 0.0)
    return torch.stack([gap_RC.sum(), counted_RC.sum().to(gap_RC.dtype)])


def _gaps_below_positive(student_RC: Tensor, teacher_RC: Tensor, *others: Tensor, first: int) -> Tensor:
    """The same of how far each candidate lies below its row's positive."""
    student_RC, teacher_RC = (m.diagonal(offset=first)[:, None] - m for m in (student_RC, teacher_RC))
    return _gaps(student_RC, teacher_RC, *others, first=first)


def _kl(
    student_RC: Tensor, teacher_RC: Tensor, kept_RC: Tensor, counted_RC: Tensor, *, temperature: float, first: int
) -> Tensor:
    """KL of the teacher's softmax from the student's over the compared candidates, times T squared, sum over rows."""
    from torch.nn.functional import kl_div, log_softmax

    lowest = -1e4
    student_RC = log_softmax((student_RC / temperature).masked_fill(~kept_RC, lowest), dim=1)
    teacher_RC = log_softmax((teacher_RC / temperature).masked_fill(~kept_RC, lowest), dim=1)
    return kl_div(student_RC, teacher_RC, reduction="sum", log_target=True) * temperature**2


def _matrix(scores: Scores, options: Options, *, margin: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Values [R, C], which of them are compared, and which are counted in the mean."""
    import torch

    positive_RB, cosine_RB = scores.positive_RB, scores.cosines
    scale = scores.inverse_t if options.space in ("logits", "softmax_kl") else torch.ones_like(scores.inverse_t)
    values_RB = cosine_RB - (scores.margin if margin else 0.0) * positive_RB.to(cosine_RB.dtype)
    values = [values_RB * scale]
    kept = [_compared(scores.negative_RB, options) | positive_RB]
    counted = [torch.ones_like(positive_RB) if options.false_negatives == "zero" else kept[0]]
    drops_diagonal = not options.diagonal or options.space == "margin"
    if drops_diagonal:
        kept, counted = [kept[0] & ~positive_RB], [counted[0] & ~positive_RB]
    has_head = scores.head_cosine_R is not None and scores.head_negative_R is not None
    if has_head and options.self_negative_column == "follow_ce":
        assert scores.head_cosine_R is not None and scores.head_negative_R is not None
        values.append((scores.head_cosine_R * scale)[:, None])
        kept.append(_compared(scores.head_negative_R, options)[:, None])
        counted.append(torch.ones_like(kept[1]) if options.false_negatives == "zero" else kept[1])
    return torch.cat(values, 1), torch.cat(kept, 1), torch.cat(counted, 1)


def _compared(negative: Tensor, options: Options) -> Tensor:
    import torch

    return torch.ones_like(negative) if options.false_negatives == "keep" else negative
