"""Hidden states of the student's layers against the teacher's: Patient Knowledge Distillation (Sun et al. 2019).

Student layers 1 to L - 1 follow teacher layers below its last; what the last layers say is left to the score loss. The
loss looks at whole texts, so it works where nothing is masked. The released code weighs it with 10 to 1000, beside
(1 - alpha) on the labels: combination `additive` takes such weights.

Shapes: B queries, U distinct texts of one tower, D width, K compared layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pmd_ray.model.losses import Setting, States
from pmd_ray.spec.loss import LossOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pmd_ray.model.outputs import Facts, Outputs, Role, Side

ROLE = "feature"


class Options(LossOptions):
    """Options of patient distillation."""

    looks_at_tokens: ClassVar[bool] = False
    name: Literal["pkd"] = "pkd"
    state: Literal["first", "mean"] = "first"
    """What stands for a text in a layer: the state of its first token, [CLS], or the mean over its tokens, as the
    towers pool. Source: Sun et al. 2019 (first)."""
    layer_map: Literal["skip", "last"] = "skip"
    """Student layer j of L follows teacher layer j x (its depth) / L, rounded down; or student layers 1 to L - 1 follow
    the teacher's last ones but its very last. Source: Sun et al. 2019 (skip; for 12 -> 6: 2, 4, 6, 8, 10; last: 7 to
    11)."""
    normalise: Literal["l2", "none"] = "l2"
    """What is done to a state before it is compared. Source: Sun et al. 2019 (l2)."""
    reduction: Literal["mean", "sum_dims"] = "mean"
    """Mean over texts, layers and dimensions, or mean over texts and layers of the sum over dimensions. Source:
    released code of Sun et al. (mean; its weights are for that)."""
    projector: Literal["auto", "none", "linear"] = "auto"
    """Maps student states before they are compared, one map for all layers: linear where the widths differ (auto),
    never, always."""


def needs(options: Options, setting: Setting) -> tuple[States, States]:
    """Hidden states asked of the student and of the teacher; none of a student of one layer."""
    student, teacher = layers_compared(options, setting)
    return _states(options, student), _states(options, teacher)


def layers_compared(options: Options, setting: Setting) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Student layers 1 to L - 1 and the teacher's layers that they follow, both counted from 1."""
    depth, above = setting.student_layers, setting.teacher_layers
    student = tuple(range(1, depth))
    match options.layer_map:
        case "skip":
            return student, tuple(place * above // depth for place in student)
        case "last":
            return student, tuple(above - depth + place for place in student)


def _states(options: Options, layers: tuple[int, ...]) -> States:
    if not layers:
        return States()
    return States(first=options.state == "first", mean=options.state == "mean", layers=layers)


def make(options: Options, setting: Setting) -> nn.Module:
    """The loss as a module: `module(student, teacher, facts) -> scalar`, 0 for a student of one layer."""
    from torch import nn

    layers, _ = layers_compared(options, setting)

    class PatientLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projector = _projector(options, setting)

        def forward(self, student: Outputs, teacher: Outputs, facts: Facts) -> Tensor:
            roles = setting.loss_sequences if layers else ()
            terms = [_gap(role, student, teacher, facts, self.projector, options) for role in roles]
            return sum(terms, start=student.hr.pooled_UD.new_zeros(()))

    return PatientLoss()


def _projector(options: Options, setting: Setting) -> nn.Module:
    from torch import nn

    student, teacher = setting.student_width, setting.teacher_width
    if options.projector == "none" and student != teacher:
        raise ValueError(f"pkd.projector none needs equal widths, got {student} and {teacher}; use auto")
    if options.projector == "linear" or (options.projector == "auto" and student != teacher):
        return nn.Linear(student, teacher)
    return nn.Identity()


def _gap(
    role: Role | str, student: Outputs, teacher: Outputs, facts: Facts, projector: nn.Module, options: Options
) -> Tensor:
    """The loss of one input (queries, tails or heads), mean over its occurrences in the batch and over layers."""
    tower: Literal["hr", "tail"] = "hr" if role == "hr" else "tail"
    mine_KUD = _normalised(projector(_whole(getattr(student, tower), options)), options)
    theirs_KUD = _normalised(_whole(getattr(teacher, tower), options).detach(), options)
    gap_KU = (mine_KUD - theirs_KUD).square().sum(-1)
    row_B = facts.rows[role]  # type: ignore[index]
    return gap_KU[:, row_B].mean() / (mine_KUD.shape[-1] if options.reduction == "mean" else 1)


def _whole(side: Side, options: Options) -> Tensor:
    states_KUD = side.first_KUD if options.state == "first" else side.mean_KUD
    assert states_KUD is not None
    return states_KUD


def _normalised(states_KUD: Tensor, options: Options) -> Tensor:
    from torch.nn.functional import normalize

    return normalize(states_KUD, dim=-1) if options.normalise == "l2" else states_KUD
