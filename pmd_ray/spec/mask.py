"""Which tokens a grade masks, and who sees the mask (PMD, 3.2; method factors mask.*)."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator, model_validator

from pmd_ray.spec import plugins
from pmd_ray.spec.base import Frozen

Sequence = Literal["hr", "tail", "head"]


class MaskConfig(Frozen):
    """Masking of one grade."""

    rate: float = 0.0
    """Share of maskable tokens replaced, in [0, 1). 0.0 = no masking. Source: PMD, 4.1: 0.2 / 0.1 / 0.05 / 0 by grade;
    the released FB15k-237 paths suggest 0.2 / 0.1 / 0 for 9 / 6 / 3 layers."""
    policy: str = "uniform"
    """How positions are drawn, by name (a file of `model/mask_policies`). Source: PMD, 3.2 (uniform)."""
    sequences: tuple[Sequence, ...] = ("hr", "tail", "head")
    """Which inputs are masked, a list. Source: released code (all three; head matters only with self-negatives)."""
    loss_sequences: tuple[Sequence, ...] = ("hr", "tail")
    """Which masked inputs enter the feature loss, a list. Source: released code (hr, tail)."""
    positions: Literal["no_special", "code", "description", "neighbours"] = "no_special"
    """Maskable tokens: all but special ones; `code` = all but the first and last, so that the middle [SEP] can be
    masked (21 % of queries at rate 0.2); only the description; only the neighbours' names. Source: released code
    (code); the paper does not say."""
    sampling: Literal["without_replacement", "with_replacement"] = "without_replacement"
    """With replacement, 8.5 % of draws repeat and weigh double in the feature. Source: released code (torch.randint:
    with_replacement)."""
    count: Literal["stochastic", "floor"] = "stochastic"
    """Tokens masked: rate x maskable tokens rounded at random, so that short texts are masked at the asked rate; or
    floor(rate x all tokens), which leaves every text under 1 / rate tokens unmasked. Source: released code (floor)."""
    min_tokens: Literal[0, 1] = 0
    """Mask at least so many tokens of a text that has any maskable. Source: released code (0)."""
    per: Literal["text", "occurrence"] = "text"
    """One mask, and one draw of dropout, for each distinct text of a batch (which is then encoded once), or for each
    occurrence. Source: released code (occurrence)."""
    replace: Literal["mask", "80_10_10", "attention"] = "mask"
    """[MASK] always; BERT's 80 % [MASK], 10 % random, 10 % kept; or hide the tokens from attention. Source: PMD, Fig.
    1, and released code (mask)."""
    teacher_input: Literal["same", "clean", "own"] = "same"
    """The teacher sees the student's masked text, clean text (MGD, Yang et al. 2022), or a mask of its own. Source:
    paper and released code (same)."""
    for_score: Literal["same", "clean"] = "same"
    """Which forward the score loss reads: the masked one, or a second, clean one of both models. Source: released code
    (same)."""
    for_ce: Literal["masked", "clean"] = "masked"
    """Which forward the label loss reads. Masked = augmentation. Source: released code (masked)."""

    @field_validator("rate")
    @classmethod
    def _rate_below_one(cls, rate: float) -> float:
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"must be in [0, 1), got {rate}; use 0.0 to switch masking off")
        return rate

    @field_validator("policy")
    @classmethod
    def _policy_exists(cls, policy: str) -> str:
        plugins.load("mask policy", policy)
        return policy

    @model_validator(mode="after")
    def _weights_need_distinct_draws(self) -> MaskConfig:
        if self.policy != "uniform" and self.sampling == "with_replacement":
            raise ValueError(f"policy '{self.policy}' weighs positions, which needs sampling: without_replacement")
        return self

    @field_validator("sequences", "loss_sequences")
    @classmethod
    def _in_order(cls, sequences: tuple[Sequence, ...]) -> tuple[Sequence, ...]:
        order: tuple[Sequence, ...] = ("hr", "tail", "head")
        return tuple(name for name in order if name in sequences)
