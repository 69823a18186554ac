"""Two BERTs over padded batches, three encodings a triple, masked positions pooled in a row loop.

Shapes: B triples, L tokens of the longest text, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.clock import Clock
from pmd_ray.model.bi_encoder import BiEncoder

FALSE_NEGATIVE = -1e4


@dataclass
class Counted:
    """What the towers were made to do."""

    encodings: int = 0
    """Texts."""
    padded_tokens: int = 0
    real_tokens: int = 0
    padded_texts: list[tuple[int, int]] | None = None
    """Rows and length of each batch, from which operations follow."""

    def add(self, mask_BL: Tensor) -> None:
        """One more padded batch."""
        self.encodings += len(mask_BL)
        self.padded_tokens += mask_BL.numel()
        self.real_tokens += int(mask_BL.sum())
        self.padded_texts = [*(self.padded_texts or []), (mask_BL.shape[0], mask_BL.shape[1])]


class Towers(nn.Module):
    """A model of the released code's form, with the weights of one of ours."""

    def __init__(self, model: BiEncoder, *, margin: float) -> None:
        super().__init__()
        self.hr_bert, self.tail_bert = _bert(model.hr), _bert(model.tail)
        self.log_inverse_t = nn.Parameter(model.log_inverse_t.detach().clone())
        self.margin = margin
        self.counted = Counted()

    def forward(self, batch: dict[str, Any], prefix: str = "") -> dict[str, Tensor]:
        """Unit vectors [B, D] of the query, tail and head, and of each one's masked positions."""
        found = {}
        for role, bert in (("hr", self.hr_bert), ("tail", self.tail_bert), ("head", self.tail_bert)):
            found[role], found[f"{role}_masked"] = self.encode(bert, batch[prefix + role])
        return found

    def encode(self, bert: nn.Module, texts: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """[B, D] the mean over each text's tokens and over its masked positions, both of unit length."""
        self.counted.add(texts["mask"])
        out: Any = bert(
            input_ids=texts["ids"], attention_mask=texts["mask"], token_type_ids=texts["types"], return_dict=True
        )
        states_BLD = out.last_hidden_state
        return mean_vector(states_BLD, texts["mask"]), masked_vectors(states_BLD, texts["masked"])

    def logits(self, vectors: dict[str, Tensor], allowed_BB: Tensor) -> Tensor:
        """[B, B] scores of all queries with all tails of the batch."""
        scores_BB = vectors["hr"].mm(vectors["tail"].t())
        if self.training:
            scores_BB = scores_BB - torch.zeros_like(scores_BB).fill_diagonal_(self.margin)
        return (scores_BB * self.log_inverse_t.exp()).masked_fill(~allowed_BB, FALSE_NEGATIVE)


def mean_vector(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """[B, D] the mean over attended tokens, of unit length."""
    wide_BLD = mask_BL.unsqueeze(-1).expand(states_BLD.size()).to(states_BLD.dtype)
    sums_BD = torch.sum(states_BLD * wide_BLD, 1)
    return normalize(sums_BD / torch.clamp(wide_BLD.sum(1), min=1e-4), dim=1)


def masked_vectors(states_BLD: Tensor, masked: Sequence[Sequence[int]]) -> Tensor:
    """[B, D] the mean over masked positions row by row, ones where there are none, of unit length where there are.

    Every row that is taken from the states gives them a gradient of their whole size: B times B x L x D.
    """
    vectors = []
    for row, positions in enumerate(masked):
        if len(positions):
            vectors.append(normalize(states_BLD[row][list(positions)].mean(0), dim=0))
        else:
            vectors.append(torch.ones_like(states_BLD[row, 0]))
    return torch.stack(vectors)


def _bert(tower: nn.Module) -> nn.Module:
    """A whole BERT, its unused pooler included, with a tower's weights."""
    from transformers import AutoModel

    with torch.random.fork_rng(devices=[]):
        bert: nn.Module = AutoModel.from_config(tower.config)
    missing, unexpected = bert.load_state_dict(tower.state_dict(), strict=False)
    lost = [name for name in [*missing, *unexpected] if not name.startswith(("pooler.", "embeddings.position_ids"))]
    if lost:
        raise ValueError(f"the tower's weights do not fit: {lost[:5]}")
    weight = next(tower.parameters())
    return bert.to(weight.dtype)


def in_phase(clock: Clock | None, name: str) -> Any:
    """A phase of a clock, where there is one."""
    return nullcontext() if clock is None else clock.phase(name)
