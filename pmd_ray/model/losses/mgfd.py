"""Masked generation features of the student against the teacher's (PMD, Eq. 1, 2 and 4).

The released code pools the masked positions of a text to one unit vector and averages the squared gap over
dimensions: at most 4 / D, 5,000 to 20,000 times below the label loss's pull (method notes, 2.2, C6). `sum_dims` takes
the average out; `tokens` compares token by token, as the paper's equation says. Its row loop needs a backward pass
quadratic in the batch (C12); here pooling is one indexed sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pmd_ray.model.losses import Setting, States
from pmd_ray.spec.loss import LossOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pmd_ray.model.outputs import Facts, Outputs, Role, Side, Watched

ROLE = "feature"


class Options(LossOptions):
    """Options of the masked generation feature loss."""

    name: Literal["mgfd"] = "mgfd"
    feature: Literal["masked_mean", "tokens", "sequence"] = "masked_mean"
    """One mean vector of a text's masked tokens (released code); each masked token (PMD, Eq. 2); or the text's own
    vector."""
    normalise: Literal["l2", "none", "layernorm"] = "l2"
    """What is done to a vector before it is compared. Source: released code (l2); the paper does nothing."""
    reduction: Literal["mean", "sum_dims"] = "sum_dims"
    """Mean over texts and dimensions (released code), or mean over texts of the sum over dimensions."""
    empty: Literal["skip", "ones"] = "skip"
    """A text without masked tokens adds nothing, or compares a vector of ones with itself (released code): the same
    value and gradient."""
    when_unmasked: Literal["nowhere", "random"] = "nowhere"
    """Where to look in a text of which nothing is masked: nowhere, or at random positions."""
    random_rate: float = Field(default=0.15, gt=0.0, lt=1.0)
    """Share of maskable tokens looked at by `random`; at least one."""
    projector: Literal["auto", "none", "linear", "generation"] = "auto"
    """Maps student vectors before they are compared: linear where the widths differ (auto), never, always, or two
    layers with GELU between (after MGD, Yang et al. 2022)."""
    layers: Literal["last", "mapped"] = "last"
    """Compare the last layer (PMD, Fig. 1), or every student layer with the uniformly matching teacher layer."""


def needs(options: Options, setting: Setting) -> tuple[States, States]:
    """Hidden states asked of the student and of the teacher."""
    if options.feature == "sequence":
        return States(), States()
    depth = setting.student_layers
    student = tuple(range(1, depth + 1)) if options.layers == "mapped" else (depth,)
    teacher = tuple(place * setting.teacher_layers // depth for place in student)
    by_token = _by_token(options)
    asked = States(tokens=by_token, watched=not by_token)
    return replace(asked, layers=student), replace(asked, layers=teacher)


def _by_token(options: Options) -> bool:
    """Whether each token's own state is compared: a mean may be taken before a linear projector, not before others."""
    return options.feature == "tokens" or options.projector == "generation"


def make(options: Options, setting: Setting) -> nn.Module:
    """The loss as a module: `module(student, teacher, facts) -> scalar`."""
    from torch import nn

    class FeatureLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projector = _projector(options, setting)

        def forward(self, student: Outputs, teacher: Outputs, facts: Facts) -> Tensor:
            terms = [_term(role, student, teacher, facts, self.projector, options) for role in setting.loss_sequences]
            return sum(terms, start=student.hr.pooled_UD.new_zeros(()))

    return FeatureLoss()


def _projector(options: Options, setting: Setting) -> nn.Module:
    from torch import nn

    student, teacher = setting.student_width, setting.teacher_width
    match options.projector:
        case "none":
            if student != teacher:
                raise ValueError(f"mgfd.projector none needs equal widths, got {student} and {teacher}; use auto")
            return nn.Identity()
        case "auto":
            return nn.Identity() if student == teacher else nn.Linear(student, teacher)
        case "linear":
            return nn.Linear(student, teacher)
        case "generation":
            return nn.Sequential(nn.Linear(student, teacher), nn.GELU(), nn.Linear(teacher, teacher))


def _term(
    role: Any, student: Outputs, teacher: Outputs, facts: Facts, projector: nn.Module, options: Options
) -> Tensor:
    """The loss of one input (queries, tails or heads), mean over its occurrences in the batch."""
    tower: Literal["hr", "tail"] = "hr" if role == "hr" else "tail"
    mine, theirs = getattr(student, tower), getattr(teacher, tower)
    if options.feature == "sequence":
        mine_UD, theirs_UD = _normalised(projector(mine.pooled_UD), options), _normalised(theirs.pooled_UD, options)
        return _mean_gap(mine_UD, theirs_UD, facts.rows[role], options)
    if options.feature == "tokens":
        return _token_gap(role, mine, theirs, facts, projector, options)
    return _pooled_gap(role, mine, theirs, facts, projector, options)


def _mean_gap(mine_UD: Tensor, theirs_UD: Tensor, row_B: Tensor, options: Options) -> Tensor:
    gap_U = (mine_UD - theirs_UD).square().sum(-1)
    return gap_U[row_B].mean() / (mine_UD.shape[-1] if options.reduction == "mean" else 1)


def _pooled_gap(role: Role, mine: Side, theirs: Side, facts: Facts, projector: nn.Module, options: Options) -> Tensor:
    """Gap of the weighted mean of each text's watched tokens, averaged over layers."""
    watched = facts.watched["hr" if role == "hr" else "tail"]
    empty_U1 = (watched.drawn(len(mine.pooled_UD)) == 0)[:, None]
    gaps = []
    for mine_UD, theirs_UD in _pooled_layers(mine, theirs, watched, projector, options):
        mine_UD, theirs_UD = _normalised(mine_UD, options), _normalised(theirs_UD, options)
        # An empty text's vector is the same constant for both: zero gap, no gradient, whatever `empty` says.
        mine_UD, theirs_UD = mine_UD.masked_fill(empty_U1, 1.0), theirs_UD.masked_fill(empty_U1, 1.0)
        gaps.append(_mean_gap(mine_UD, theirs_UD, facts.rows[role], options))
    return sum(gaps[1:], start=gaps[0]) / len(gaps)


def _pooled_layers(
    mine: Side, theirs: Side, watched: Watched, projector: nn.Module, options: Options
) -> Iterator[tuple[Tensor, Tensor]]:
    """Both models' means [U, D] of each layer, the student's projected."""
    if not _by_token(options):
        assert mine.watched_KUD is not None and theirs.watched_KUD is not None
        yield from zip(map(projector, mine.watched_KUD), theirs.watched_KUD, strict=True)
        return
    assert mine.tokens_KMD is not None and theirs.tokens_KMD is not None
    for mine_MD, theirs_MD in zip(mine.tokens_KMD, theirs.tokens_KMD, strict=True):
        texts = len(mine.pooled_UD)
        yield watched.means(projector(mine_MD), texts), watched.means(theirs_MD, texts)


def _token_gap(role: Role, mine: Side, theirs: Side, facts: Facts, projector: nn.Module, options: Options) -> Tensor:
    """Mean gap over the masked tokens of all occurrences (PMD, Eq. 2), averaged over layers."""
    import torch

    watched = facts.watched["hr" if role == "hr" else "tail"]
    assert mine.tokens_KMD is not None and theirs.tokens_KMD is not None
    row_B = facts.rows[role]  # `bincount` would wait for a GPU
    occurrences_U = row_B.new_zeros(len(mine.pooled_UD)).index_add_(0, row_B, torch.ones_like(row_B))
    weight_M = watched.weight_M.to(mine.pooled_UD.dtype) * occurrences_U[watched.row_M]
    gap_KMD = (_normalised(projector(mine.tokens_KMD), options) - _normalised(theirs.tokens_KMD, options)).square()
    gap_M = gap_KMD.sum(-1).mean(0) / (gap_KMD.shape[-1] if options.reduction == "mean" else 1)
    return (gap_M * weight_M).sum() / weight_M.sum().clamp(min=1)


def _normalised(vectors: Tensor, options: Options) -> Tensor:
    from torch.nn.functional import layer_norm, normalize

    match options.normalise:
        case "l2":
            return normalize(vectors, dim=-1)
        case "layernorm":
            return layer_norm(vectors, vectors.shape[-1:])
        case "none":
            return vectors
