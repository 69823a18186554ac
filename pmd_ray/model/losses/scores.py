"""The student's score matrix against the teacher's (PMD, Eq. 3 and 5).

The released code compares logits scaled by each model's own temperature, which is about 400 times the paper's squared
cosine gap; takes the margin off the student's diagonal only; and averages the zeros of false negatives in (method
notes, 2.5, C13 to C15). Each is an option.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pmd_ray.model.losses import Scores, Setting
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
    student_BC, kept_BC, counted_BC = _matrix(student, options, margin=options.margin != "none")
    teacher_BC, _, _ = _matrix(teacher, options, margin=options.margin == "both")
    match options.space:
        case "softmax_kl":
            forward = _kl(student_BC, teacher_BC, kept_BC, options.temperature)
            if options.directions == "once":
                return forward
            inside = slice(0, len(student.cosine_BB))
            student_BC, teacher_BC, kept_BC = (m[:, inside].t() for m in (student_BC, teacher_BC, kept_BC))
            return (forward + _kl(student_BC, teacher_BC, kept_BC, options.temperature)) / 2
        case "margin":
            student_BC, teacher_BC = _below_positive(student_BC), _below_positive(teacher_BC)
        case "logits" | "cosine":
            pass
    gap_BC = (student_BC - teacher_BC).square().masked_fill(~kept_BC, 0.0)
    return gap_BC.sum() / counted_BC.sum().clamp(min=1)


def _matrix(scores: Scores, options: Options, *, margin: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Values [B, C], which of them are compared, and which are counted in the mean."""
    import torch

    count = len(scores.cosine_BB)
    eye_BB = torch.eye(count, dtype=torch.bool, device=scores.cosine_BB.device)
    scale = scores.inverse_t if options.space in ("logits", "softmax_kl") else torch.ones_like(scores.inverse_t)
    values_BB = scores.cosine_BB - (scores.margin if margin else 0.0) * eye_BB.to(scores.cosine_BB.dtype)
    values = [values_BB * scale]
    kept = [_compared(scores.negative_BB, options) | eye_BB]
    counted = [torch.ones_like(eye_BB) if options.false_negatives == "zero" else kept[0]]
    drops_diagonal = not options.diagonal or options.space == "margin"
    if drops_diagonal:
        kept, counted = [kept[0] & ~eye_BB], [counted[0] & ~eye_BB]
    has_head = scores.head_cosine_B is not None and scores.head_negative_B is not None
    if has_head and options.self_negative_column == "follow_ce":
        assert scores.head_cosine_B is not None and scores.head_negative_B is not None
        values.append((scores.head_cosine_B * scale)[:, None])
        kept.append(_compared(scores.head_negative_B, options)[:, None])
        counted.append(torch.ones_like(kept[1]) if options.false_negatives == "zero" else kept[1])
    return torch.cat(values, 1), torch.cat(kept, 1), torch.cat(counted, 1)


def _compared(negative: Tensor, options: Options) -> Tensor:
    import torch

    return torch.ones_like(negative) if options.false_negatives == "keep" else negative


def _kl(student_BC: Tensor, teacher_BC: Tensor, kept_BC: Tensor, temperature: float) -> Tensor:
    """KL of the teacher's softmax from the student's over the compared candidates, mean over rows, times T squared."""
    from torch.nn.functional import kl_div, log_softmax

    lowest = -1e4
    student_BC = log_softmax((student_BC / temperature).masked_fill(~kept_BC, lowest), dim=1)
    teacher_BC = log_softmax((teacher_BC / temperature).masked_fill(~kept_BC, lowest), dim=1)
    return kl_div(student_BC, teacher_BC, reduction="batchmean", log_target=True) * temperature**2


def _below_positive(values_BC: Tensor) -> Tensor:
    """How far each candidate lies below its row's positive."""
    return values_BC.diagonal()[:, None] - values_BC
