"""The teacher's distribution over a batch's candidates as the student's target: logit distillation (PMD's LKD).

Both models' scores become distributions by a softmax with temperature T; their KL divergence, times T squared, keeps
its pull on the logits when T changes (Hinton et al. 2015, section 2). On logits it equals `scores` with `space:
softmax_kl`; here a candidate that is left out has no part in value or gradient at any temperature.

Shapes: R queries of a batch of B, C candidates of a row (the B answers of the batch, and the query's own head with
self-negatives).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pmd_ray.model.losses import Scores, Setting, mean_over
from pmd_ray.spec.loss import LossOptions

if TYPE_CHECKING:
    from torch import Tensor

ROLE = "score"


class Options(LossOptions):
    """Options of logit distillation."""

    name: Literal["lkd"] = "lkd"
    temperature: float = Field(default=1.0, gt=0.0)
    """Divides both models' logits; the loss is multiplied by its square (Hinton et al. 2015). 1 = as the models have
    learnt to divide them. Source: OpenCLIP's DistillClipLoss (1); Sun et al. 2019 try 5, 10 and 20."""
    space: Literal["logits", "cosine"] = "logits"
    """Logits, each model's cosines over its own learnt temperature; or cosines, both over the student's temperature,
    which the loss then does not train. Source: OpenCLIP's DistillClipLoss (logits)."""
    directions: Literal["once", "both"] = "once"
    """Distributions of a query over tails; or the mean with those of a tail over queries. Source: PMD, Eq. 5 (once);
    OpenCLIP's DistillClipLoss (both)."""
    false_negatives: Literal["exclude", "keep"] = "exclude"
    """Leave known answers out of the distributions, as the label loss does, or compare them too."""
    margin: Literal["none", "student", "both"] = "none"
    """Whose positives the label loss's additive margin is taken off."""
    self_negative_column: Literal["follow_ce", "exclude"] = "follow_ce"
    """The query's own head as one more candidate where the label loss has it, or not."""


def make(options: Options, setting: Setting) -> Callable[[Scores, Scores], Tensor]:
    """The loss as a function of the student's and the teacher's scores."""

    def loss(student: Scores, teacher: Scores) -> Tensor:
        return lkd_loss(student, teacher, options)

    return loss


def lkd_loss(student: Scores, teacher: Scores, options: Options) -> Tensor:
    """Mean over rows of T^2 KL(teacher, student); no gradient reaches the teacher's scores."""
    read, value = partial(_matrices, options=options), partial(_kl, temperature=options.temperature)
    return mean_over(read, value, student, teacher, columns=options.directions == "both")


def _matrices(student: Scores, teacher: Scores, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """Student's and teacher's logits [R, C], and which of them belong to their row's distribution."""
    import torch

    one_scale = student.inverse_t.detach()
    is_cosine = options.space == "cosine"
    student_RC, kept_RC = _candidates(
        student, options, scale=one_scale if is_cosine else student.inverse_t, margin=options.margin != "none"
    )
    with torch.no_grad():
        teacher_RC, _ = _candidates(
            teacher, options, scale=one_scale if is_cosine else teacher.inverse_t, margin=options.margin == "both"
        )
    return student_RC, teacher_RC, kept_RC


def _candidates(scores: Scores, options: Options, *, scale: Tensor, margin: bool) -> tuple[Tensor, Tensor]:
    """Logits [R, C], and which of them belong to their row's distribution; the positive always does."""
    import torch

    positive_RB, cosine_RB = scores.positive_RB, scores.cosines
    if margin:
        cosine_RB = cosine_RB - scores.margin * positive_RB.to(cosine_RB.dtype)
    values = [cosine_RB * scale]
    kept = [scores.negative_RB | positive_RB]
    with_head = options.self_negative_column == "follow_ce"
    if with_head and scores.head_cosine_R is not None and scores.head_negative_R is not None:
        values.append((scores.head_cosine_R * scale)[:, None])
        kept.append(scores.head_negative_R[:, None])
    kept_RC = torch.cat(kept, 1)
    return torch.cat(values, 1), torch.ones_like(kept_RC) if options.false_negatives == "keep" else kept_RC


def _kl(student_RC: Tensor, teacher_RC: Tensor, kept_RC: Tensor, *, temperature: float, first: int) -> Tensor:
    """T^2 KL(teacher, student) over the kept candidates, sum over rows."""
    import torch
    from torch.nn.functional import log_softmax

    # Half the lowest number: exp of it is 0, and taking a row's largest logit off it does not overflow.
    lowest = torch.finfo(student_RC.dtype).min / 2
    student_RC = log_softmax((student_RC / temperature).masked_fill(~kept_RC, lowest), dim=1)
    teacher_RC = log_softmax((teacher_RC / temperature).masked_fill(~kept_RC, lowest), dim=1)
    gap_RC = (teacher_RC - student_RC).masked_fill(~kept_RC, 0.0)
    return (teacher_RC.exp() * gap_RC).sum(1).sum() * temperature**2
