"""Losses by name. A file has `ROLE` (`score` or `feature`), `Options`, and `make(options, setting)`.

A score loss is called with the two models' `Scores` and returns a scalar. It reads them by `over_rows`, which hands out
some rows at a time where the batch is large. A feature loss is called with both models' `Outputs` and the batch's
`Facts`; its `needs(options, setting)` says which hidden states the towers must hand out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pmd_ray.spec.chunks import SCORE_CELLS

if TYPE_CHECKING:
    import torch
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
    watched: bool = False
    """Mean over a text's watched tokens: a number for each text where `tokens` has one for each token."""
    layers: tuple[int, ...] = ()

    @property
    def watches(self) -> bool:
        """Whether there must be watched tokens."""
        return self.tokens or self.watched


@dataclass(frozen=True)
class Product:
    """The matrix x y^T [R, C] of vectors [R, D] and [C, D], of which only the rows that are asked for are computed."""

    left_RD: Tensor
    right_CD: Tensor

    def __len__(self) -> int:
        return len(self.left_RD)

    def __getitem__(self, rows: slice) -> Tensor:
        """Of some of the rows."""
        return self.left_RD[rows] @ self.right_CD.t()

    def t(self) -> Product:
        """Its transpose."""
        return Product(self.right_CD, self.left_RD)


@dataclass(frozen=True)
class Scores:
    """Cosines of a batch, or of some of its R queries, and the temperature that turns them into logits.

    Row r's own answer, the positive, is column `first + r`.
    """

    cosine_RB: Tensor | Product
    """A product where the matrix would be large."""
    inverse_t: Tensor
    """exp(log 1/t), a scalar."""
    margin: float
    negative_RB: Tensor
    """True where a pair may count as a negative; never True for the positive."""
    head_cosine_R: Tensor | None = None
    """With the query's own head (self-negatives)."""
    head_negative_R: Tensor | None = None
    earlier_cosine_RN: Tensor | Product | None = None
    """With tails of earlier batches."""
    earlier_negative_RN: Tensor | None = None
    earlier_weight: float = 1.0
    """Of their logits."""
    first: int = 0

    def __len__(self) -> int:
        return len(self.cosine_RB)

    def rows(self, part: slice) -> Scores:
        """Of some of the rows: cosines are computed here, where they are not yet."""

        def of(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[part]

        return replace(
            self,
            cosine_RB=self.cosine_RB[part],
            negative_RB=self.negative_RB[part],
            head_cosine_R=of(self.head_cosine_R),
            head_negative_R=of(self.head_negative_R),
            earlier_cosine_RN=None if self.earlier_cosine_RN is None else self.earlier_cosine_RN[part],
            earlier_negative_RN=of(self.earlier_negative_RN),
            first=self.first + part.start,
        )

    def turned(self) -> Scores:
        """Of each answer with all queries of the batch, and with nothing else."""
        return Scores(self.cosine_RB.t(), self.inverse_t, self.margin, self.negative_RB.t())

    @property
    def columns(self) -> int:
        """Candidates of a row, the own head apart."""
        earlier = self.earlier_negative_RN if self.earlier_cosine_RN is not None else None
        return self.negative_RB.shape[1] + (0 if earlier is None else earlier.shape[1])

    @property
    def cosines(self) -> Tensor:
        """[R, B], of what `over_rows` hands out."""
        assert not isinstance(self.cosine_RB, Product), "ask over_rows for the rows"
        return self.cosine_RB

    @property
    def positive_RB(self) -> Tensor:
        """True at each row's own answer."""
        import torch

        on = self.negative_RB.device
        columns_B = torch.arange(self.negative_RB.shape[1], device=on)
        return columns_B == torch.arange(self.first, self.first + len(self), device=on)[:, None]


def cells_at_once(device: torch.device) -> int:
    """Numbers of a matrix of scores at most; a larger one is made some rows at a time."""
    return SCORE_CELLS.get(device.type, SCORE_CELLS["cpu"])


def over_rows(
    read: Callable[..., tuple[Tensor, ...]], value: Callable[..., Tensor], *scores: Scores, columns: bool = False
) -> list[Tensor]:
    """A loss's sum over rows; with `columns` also that over columns, in which each answer of the batch has a row.

    Matrices that would have more than `SCORE_CELLS` numbers are made and read some rows at a time, and made again for
    the gradient and for the other direction (gradient checkpointing, Chen et al. 2016). What grows with the square of
    the batch is then one byte a pair, `negative_RB`.

    Args:
        read: Matrices [R, C] out of each model's `Scores`, which may be some of the rows; the batch's own B columns
            come first.
        value: The sum over rows of such matrices; also told the column of the first row's positive.
        scores: The student's, or the student's and the teacher's.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    if not any(isinstance(each.cosine_RB, Product) for each in scores):
        whole = read(*scores)
        sums = [value(*whole, first=0)]
        return [*sums, value(*(matrix[:, : len(matrix)].t() for matrix in whole), first=0)] if columns else sums
    cells = cells_at_once(scores[0].negative_RB.device)
    step = max(1, cells // max(each.columns for each in scores))

    def of_rows(given: tuple[Scores, ...], start: int) -> Tensor:
        return value(*read(*(each.rows(slice(start, start + step)) for each in given)), first=start)

    def of_all(given: tuple[Scores, ...]) -> Tensor:
        # preserve_rng_state: a loss draws nothing.
        parts = [
            checkpoint(of_rows, given, start, use_reentrant=False, preserve_rng_state=False)
            for start in range(0, len(given[0]), step)
        ]
        return torch.stack(parts).sum(0)

    sums = [of_all(scores)]
    return [*sums, of_all(tuple(each.turned() for each in scores))] if columns else sums


def mean_over(
    read: Callable[..., tuple[Tensor, ...]], value: Callable[..., Tensor], *scores: Scores, columns: bool
) -> Tensor:
    """A loss's mean over rows; with `columns` its mean over both directions. The arguments are `over_rows`'s."""
    means = [each / len(scores[0]) for each in over_rows(read, value, *scores, columns=columns)]
    return sum(means[1:], means[0]) / len(means)
