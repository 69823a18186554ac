"""The teacher's distribution over a batch's candidates as the student's target: logit distillation (PMD's LKD).

Both models' scores become distributions by a softmax with temperature T; their KL divergence, times T squared, keeps
its pull on the logits when T changes (Hinton et al. 2015, section 2). On logits it equals `scores` with `space:
softmax_kl`; here a candidate that is left out has no part in value or gradient at any temperature.

Shapes: B queries, C candidates of a row (the B answers of the batch, and the query's own head with self-negatives).
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
    import torch

    one_scale = student.inverse_t.detach()
    is_cosine = options.space == "cosine"
    student_BC, kept_BC = _candidates(
        student, options, scale=one_scale if is_cosine else student.inverse_t, margin=options.margin != "none"
    )
    with torch.no_grad():
        teacher_BC, _ = _candidates(
            teacher, options, scale=one_scale if is_cosine else teacher.inverse_t, margin=options.margin == "both"
        )
    forward = _kl(student_BC, teacher_BC, kept_BC, options.temperature)
    if options.directions == "once":
        return forward
    inside = slice(0, len(student.cosine_BB))
    student_BB, teacher_BB, kept_BB = (matrix[:, inside].t() for matrix in (student_BC, teacher_BC, kept_BC))
    return (forward + _kl(student_BB, teacher_BB, kept_BB, options.temperature)) / 2


def _candidates(scores: Scores, options: Options, *, scale: Tensor, margin: bool) -> tuple[Tensor, Tensor]:
    """Logits [B, C], and which of them belong to their row's distribution; the positive always does."""
    import torch

    eye_BB = torch.eye(len(scores.cosine_BB), dtype=torch.bool, device=scores.cosine_BB.device)
    cosine_BB = scores.cosine_BB
    if margin:
        cosine_BB = cosine_BB - scores.margin * eye_BB.to(cosine_BB.dtype)
    values = [cosine_BB * scale]
    kept = [scores.negative_BB | eye_BB]
    with_head = options.self_negative_column == "follow_ce"
    if with_head and scores.head_cosine_B is not None and scores.head_negative_B is not None:
        values.append((scores.head_cosine_B * scale)[:, None])
        kept.append(scores.head_negative_B[:, None])
    kept_BC = torch.cat(kept, 1)
    return torch.cat(values, 1), torch.ones_like(kept_BC) if options.false_negatives == "keep" else kept_BC


def _kl(student_RC: Tensor, teacher_RC: Tensor, kept_RC: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher, student) over the kept candidates, mean over R rows."""
    import torch
    from torch.nn.functional import log_softmax

    # Half the lowest number: exp of it is 0, and taking a row's largest logit off it does not overflow.
    lowest = torch.finfo(student_RC.dtype).min / 2
    student_RC = log_softmax((student_RC / temperature).masked_fill(~kept_RC, lowest), dim=1)
    teacher_RC = log_softmax((teacher_RC / temperature).masked_fill(~kept_RC, lowest), dim=1)
    gap_RC = (teacher_RC - student_RC).masked_fill(~kept_RC, 0.0)
    return (teacher_RC.exp() * gap_RC).sum(1).mean() * temperature**2
