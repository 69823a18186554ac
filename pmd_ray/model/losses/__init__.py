"""Losses by name. A file has `ROLE` (`score` or `feature`), `Options`, and `make(options, setting)`.

A score loss is called with the two models' `Scores` and returns a scalar. A feature loss is called with both models'
`Outputs` and the batch's `Facts`; its `needs(options, setting)` says which hidden states the towers must hand out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Setting:
    """What a loss must know of the two models and the mask before training starts."""

    student_layers: int
    teacher_layers: int
    student_width: int
    teacher_width: int
    loss_sequences: tuple[str, ...]


@dataclass(frozen=True)
class States:
    """Hidden states that a feature loss asks of a tower: layers are counted from 1, the last one = its depth."""

    tokens: bool = False
    """At the watched tokens."""
    first: bool = False
    """At the first token."""
    mean: bool = False
    """Mean over a text's tokens."""
    layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Scores:
    """Cosines of a batch and the temperature that turns them into logits."""

    cosine_BB: Tensor
    inverse_t: Tensor
    """exp(log 1/t), a scalar."""
    margin: float
    negative_BB: Tensor
    """True where a pair may count as a negative; the diagonal is never True."""
    head_cosine_B: Tensor | None = None
    """With the query's own head (self-negatives)."""
    head_negative_B: Tensor | None = None
    earlier_logits_BN: Tensor | None = None
    """With tails of earlier batches, weighted."""
    earlier_negative_BN: Tensor | None = None
