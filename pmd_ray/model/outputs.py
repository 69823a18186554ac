"""What the losses read: vectors and token states of a global batch, and which text each query uses.

Shapes: B queries, U distinct texts of one tower, D width, K layers, M watched tokens, N earlier tails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["hr", "tail", "head"]
"""Queries go through the query tower; tails and heads through the entity tower."""
Per = Literal["text", "token"]
"""What an output has one vector of: a text, or a watched token."""


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
    watched_KUD: Tensor | None = None
    """Means over each text's watched tokens in K layers, as often as each was drawn; 0 where a text has none."""

    def parts(self) -> list[Part]:
        """What there is."""
        named = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [
            Part(name, tensor, tensor.dim() - 2, "token" if name == "tokens_KMD" else "text")
            for name, tensor in named
            if tensor is not None
        ]

    def changed(self, change: Callable[[Part], Tensor]) -> Side:
        """The same of what a function makes of each part."""
        return Side(**{part.name: change(part) for part in self.parts()})


class Part(NamedTuple):
    """One tensor of a `Side`."""

    name: str
    tensor: Tensor
    dim: int
    """Along which its texts or tokens lie."""
    per: Per


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

    def drawn(self, texts: int) -> Tensor:
        """[texts] how many tokens of each, as often as each was drawn."""
        return self.weight_M.new_zeros(texts).index_add(0, self.row_M, self.weight_M)

    def means(self, states_MD: Tensor, texts: int) -> Tensor:
        """[texts, D] mean over each text's watched tokens, as often as each was drawn; 0 where it has none."""
        weight_M = self.weight_M.to(states_MD.dtype)
        sums_UD = states_MD.new_zeros(texts, states_MD.shape[-1])
        sums_UD = sums_UD.index_add(0, self.row_M, states_MD * weight_M[:, None])
        return sums_UD / self.drawn(texts).clamp(min=1).to(states_MD.dtype)[:, None]


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
