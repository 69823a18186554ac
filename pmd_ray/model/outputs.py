"""What the losses read: vectors and token states of a global batch, and which text each query uses.

Shapes: B queries, U distinct texts of one tower, D width, K layers, M watched tokens, N earlier tails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["hr", "tail", "head"]
"""Queries go through the query tower; tails and heads through the entity tower."""


@dataclass(frozen=True)
class Side:
    """One tower's outputs for its distinct texts."""

    pooled_UD: Tensor
    """Unit vectors."""
    tokens_KMD: Tensor | None = None
    """Last hidden states (or those of K layers) at the watched tokens."""
    first_KUD: Tensor | None = None
    """States of the first token in K layers."""
    mean_KUD: Tensor | None = None
    """Means over each text's tokens in K layers."""


@dataclass(frozen=True)
class Outputs:
    """Both towers' outputs for one view (masked or clean) of the batch."""

    hr: Side
    tail: Side


@dataclass(frozen=True)
class Watched:
    """The tokens of one tower's texts that the feature loss looks at."""

    row_M: Tensor
    """Which distinct text a token belongs to."""
    weight_M: Tensor
    """How often it was drawn (more than once only when drawn with replacement)."""


@dataclass(frozen=True)
class Facts:
    """What is true of a batch whatever the model."""

    rows: dict[Role, Tensor]
    """[B] for each role, the row of each query's text among the distinct texts of its tower."""
    negative_BB: Tensor
    """True where tail j is no known answer of query i in the training split: a negative."""
    head_negative_B: Tensor
    """True where the head is no known answer of its own query."""
    watched: dict[Literal["hr", "tail"], Watched]
    earlier_ND: Tensor | None = None
    """Student vectors of earlier batches' tails (pre-batch negatives)."""
    earlier_negative_BN: Tensor | None = None
