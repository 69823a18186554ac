"""InfoNCE over in-batch, self and pre-batch negatives (SimKGC, Eq. 5; PMD's hard-label loss)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmd_ray.model.losses import Product, Scores, mean_over
from pmd_ray.spec.loss import LabelLossConfig

if TYPE_CHECKING:
    from torch import Tensor

ROLE = "label"
MASKED = -1e4
"""Logit of what is no negative, as in SimKGC: exp of it is 0 in fp32 and bf16."""


def label_logits(scores: Scores, *, margin: float) -> Tensor:
    """Logits of the pairs of the batch, of earlier tails and of the own head: [R, B], or [R, B + N + 1] with both."""
    import torch

    positive_RB, cosine_RB = scores.positive_RB, scores.cosines
    logits_RB = (cosine_RB - margin * positive_RB.to(cosine_RB.dtype)) * scores.inverse_t
    columns = [logits_RB.masked_fill(~(scores.negative_RB | positive_RB), MASKED)]
    if scores.earlier_cosine_RN is not None and scores.earlier_negative_RN is not None:
        assert not isinstance(scores.earlier_cosine_RN, Product)
        earlier_RN = scores.earlier_cosine_RN * scores.inverse_t * scores.earlier_weight
        columns.append(earlier_RN.masked_fill(~scores.earlier_negative_RN, MASKED))
    if scores.head_cosine_R is not None and scores.head_negative_R is not None:
        head_R = (scores.head_cosine_R * scores.inverse_t).masked_fill(~scores.head_negative_R, MASKED)
        columns.append(head_R[:, None])
    return torch.cat(columns, dim=1) if len(columns) > 1 else columns[0]


def label_loss(scores: Scores, config: LabelLossConfig) -> Tensor:
    """Cross-entropy of query to tail (all columns) and of tail to query (in-batch pairs only)."""
    mean = mean_over(_logits, _surprise, scores, columns=config.directions != "forward")
    return mean * 2 if config.directions == "both_summed" else mean


def _logits(scores: Scores) -> tuple[Tensor]:
    return (label_logits(scores, margin=scores.margin),)


def _surprise(logits_RC: Tensor, *, first: int) -> Tensor:
    """Cross-entropy of each row's positive, summed."""
    import torch
    from torch.nn.functional import cross_entropy

    target_R = torch.arange(first, first + len(logits_RC), device=logits_RC.device)
    return cross_entropy(logits_RC, target_R, reduction="sum")
