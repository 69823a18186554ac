"""How a grade is optimised, which checkpoint it keeps, in what precision."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pmd_ray.spec.base import Frozen


class OptimiserConfig(Frozen):
    """AdamW with warm-up and decay (PMD, 4.1)."""

    lr: float = Field(default=5e-5, gt=0.0, le=1.0)
    """Peak learning rate. Source: released scripts: WN18RR 5e-5, FB15k-237 3e-5."""
    epochs: int = Field(default=50, ge=1)
    """Passes over the training queries. Source: PMD, 4.1: WN18RR 50, FB15k-237 6."""
    steps_per_epoch: int | None = Field(default=None, ge=1)
    """End an epoch after so many updates, each epoch with other queries; null = when all queries have been seen."""
    schedule_epochs: int | None = Field(default=None, ge=1)
    """Length of the learning-rate schedule where it is to be longer than the training; null = epochs.
    Source: released code (null)."""
    batch: int = Field(default=512, ge=2)
    """Queries of the global batch, over all workers: it decides the number of negatives. Source: PMD, 4.1."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Texts encoded at once by gradient caching (Gao et al. 2021); null keeps the whole batch's graph. Changes memory
    and time, not the result (on a GPU, and for towers other than BERT's, it changes what dropout draws)."""
    drop_last: bool = True
    """Leave out an epoch's last, smaller batch. Source: SimKGC."""
    schedule: Literal["linear", "cosine", "wsd"] = "linear"
    """Decay to zero after the warm-up; `wsd` (warm-up, stable, decay: Hu et al. 2024) stays at the peak first, so that
    what a training is worth on the way does not depend on its length. Source: PMD, 4.1 (linear)."""
    decay_share: float = Field(default=0.2, ge=0.0, le=1.0)
    """Under `wsd`: share of all steps, at their end, in which the learning rate falls to 0 in a straight line; 0 = it
    never falls, and a training can be continued. Source: Hu et al. 2024 (a tenth; more where trainings are short)."""
    warmup_steps: int = Field(default=400, ge=0)
    """Steps in which the learning rate rises from 0. Source: released scripts."""
    warmup_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """Warm-up is at most this share of all steps; under `wsd` of an epoch's, whatever the number of epochs. Source:
    SimKGC."""
    weight_decay: float = Field(default=1e-4, ge=0.0)
    """Decoupled, as in AdamW. Source: released scripts."""
    decay_everything: bool = False
    """Decay LayerNorm, biases and the temperature too. Source: released code (true)."""
    clip: float = Field(default=10.0, gt=0.0)
    """Largest norm of the gradient. Source: released scripts."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Autocast: bf16 on GPUs and fp32 on CPUs, or as said. Source: released scripts (AMP)."""

    @model_validator(mode="after")
    def _schedule_covers_training(self) -> OptimiserConfig:
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise ValueError(
                f"schedule_epochs must be at least epochs, got {self.schedule_epochs} < {self.epochs}; "
                "leave it out to decay over the whole training"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_nothing_reads(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A decay's share that is not read is not written, so that stage keys of other schedules never knew it."""
        fields: dict[str, Any] = plain(self)
        if self.schedule != "wsd":
            fields.pop("decay_share", None)
        return fields


class SelectConfig(Frozen):
    """Which epoch's student a grade keeps; the test split is never looked at."""

    checkpoint: Literal["best", "last"] = "best"
    """The epoch of the best validation MRR, or the last one. Source: released code (last)."""
    valid_triples: int | None = Field(default=None, ge=1)
    """Validate on a fixed random sample of so many triples; null = all."""
