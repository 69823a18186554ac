"""The pretrained text encoder that both towers start from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pmd_ray.spec.base import Frozen


class ScratchConfig(Frozen):
    """A small BERT without pretrained weights, its WordPiece vocabulary trained on the graph's own texts."""

    layers: int = Field(default=4, ge=1)
    width: int = Field(default=64, ge=8)
    """Hidden size; the feed-forward part is four times as wide."""
    heads: int = Field(default=4, ge=1)
    vocabulary: int = Field(default=2000, ge=100)
    """WordPieces at most."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ScratchConfig:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, got width {self.width} and heads {self.heads}")
        return self


class EncoderConfig(Frozen):
    """What both towers are built from."""

    name: str = Field(default="bert-base-uncased", min_length=1)
    """A BERT-like model of the Hugging Face Hub by name or folder; `minilm` (the extra of that name, no network
    needed); `scratch` (see below). Source: PMD, 4.1 (bert-base-uncased)."""
    towers: Literal["separate", "shared"] = "separate"
    """Separate weights for queries and entities, or one tower for both. Source: SimKGC (separate)."""
    pooling: Literal["mean", "cls"] = "mean"
    """Mean over attended tokens, or the first token; unit length follows. Source: released scripts (mean)."""
    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Dropout of hidden states and attention while training; null keeps the encoder's own (0.1 in BERT)."""
    scratch: ScratchConfig = ScratchConfig()
    """Read only where name is `scratch`."""
