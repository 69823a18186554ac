"""InfoNCE over in-batch, self and pre-batch negatives (SimKGC, Eq. 5; PMD's hard-label loss)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmd_ray.model.losses import Scores
from pmd_ray.spec.loss import LabelLossConfig

if TYPE_CHECKING:
    from torch import Tensor

ROLE = "label"
MASKED = -1e4
"""Logit of what is no negative, as in SimKGC: exp of it is 0 in fp32 and bf16."""


def label_logits(scores: Scores, *, margin: float) -> tuple[Tensor, Tensor]:
    """Logits of the in-batch pairs [B, B], and the same with self and earlier negatives appended [B, B + 1 + N]."""
    import torch

    eye_BB = torch.eye(len(scores.cosine_BB), dtype=torch.bool, device=scores.cosine_BB.device)
    logits_BB = (scores.cosine_BB - margin * eye_BB.to(scores.cosine_BB.dtype)) * scores.inverse_t
    logits_BB = logits_BB.masked_fill(~(scores.negative_BB | eye_BB), MASKED)
    columns = [logits_BB]
    if scores.earlier_logits_BN is not None and scores.earlier_negative_BN is not None:
        columns.append(scores.earlier_logits_BN.masked_fill(~scores.earlier_negative_BN, MASKED))
    if scores.head_cosine_B is not None and scores.head_negative_B is not None:
        head_B = (scores.head_cosine_B * scores.inverse_t).masked_fill(~scores.head_negative_B, MASKED)
        columns.append(head_B[:, None])
    return logits_BB, torch.cat(columns, dim=1) if len(columns) > 1 else logits_BB


def label_loss(scores: Scores, config: LabelLossConfig) -> Tensor:
    """Cross-entropy of query to tail (all columns) and of tail to query (in-batch pairs only)."""
    import torch
    from torch.nn.functional import cross_entropy

    logits_BB, logits_BC = label_logits(scores, margin=scores.margin)
    target_B = torch.arange(len(logits_BB), device=logits_BB.device)
    forward = cross_entropy(logits_BC, target_B)
    match config.directions:
        case "forward":
            return forward
        case "both_summed":
            return forward + cross_entropy(logits_BB.t(), target_B)
        case "both_mean":
            return (forward + cross_entropy(logits_BB.t(), target_B)) / 2
