"""The losses of a grade and how they are combined (PMD, Eq. 1 to 6; method factors ce.*, score.*, mgfd.*, loss.*)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from pmd_ray.spec import plugins
from pmd_ray.spec.base import Frozen


class TemperatureConfig(Frozen):
    """The temperature t that divides cosines (SimKGC)."""

    init: float = Field(default=0.05, gt=0.0, le=10.0)
    """Value at the start. Source: SimKGC."""
    learnt: bool = True
    """Train log(1/t) with the encoder. Source: SimKGC (`--finetune-t`)."""


class LabelLossConfig(Frozen):
    """InfoNCE with in-batch negatives (SimKGC; PMD's hard-label loss)."""

    directions: Literal["both_summed", "both_mean", "forward"] = "both_summed"
    """Query to tail and tail to query, summed, averaged, or the first alone. Source: SimKGC (both_summed)."""
    margin: float = Field(default=0.02, ge=0.0, lt=2.0)
    """Subtracted from the cosine of the true pair while training. Source: SimKGC."""
    self_negatives: bool = False
    """The head as one more negative; it is not encoded when off. Source: released scripts (off: their flag is
    `store_false`); SimKGC has it on."""
    pre_batch: Literal[0, 1, 2] = 0
    """Batches whose tails stay as negatives. Source: released scripts (0)."""
    pre_batch_weight: float = Field(default=0.5, gt=0.0)
    """Factor on their logits. Source: SimKGC."""
    temperature: TemperatureConfig = TemperatureConfig()


class LossOptions(Frozen):
    """Options of a loss between student and teacher; `name` is its file in `model/losses`."""

    looks_at_tokens: ClassVar[bool] = True
    """Whether a feature loss looks at masked or drawn tokens: how they are drawn then counts at mask rate 0 too."""
    name: str


class LossConfig(Frozen):
    """Weights and parts: L = (1 - alpha - beta) L_label + alpha L_score + beta L_feature."""

    alpha: float = Field(default=0.1, ge=0.0)
    """Weight of the score loss (PMD, Eq. 6). Source: released code (0.1)."""
    beta: float = Field(default=0.1, ge=0.0)
    """Weight of the feature loss (PMD, Eq. 6). Source: released code (0.1)."""
    combination: Literal["convex", "additive", "adaptive"] = "convex"
    """`convex`: (1 - alpha - beta) on the label loss. `additive`: 1 on it. `adaptive`: learnt
    uncertainties (Kendall et al. 2018, Eq. 7), alpha and beta then switch parts on. Source: PMD, Eq. 6, and released
    code (convex)."""
    ce: LabelLossConfig = LabelLossConfig()
    score: SerializeAsAny[LossOptions] = Field(default="scores", validate_default=True)
    """The loss between score matrices, by name; its own options stand beside the name. Source: PMD, Eq. 3 and 5."""
    feature: SerializeAsAny[LossOptions] = Field(default="mgfd", validate_default=True)
    """The loss between features, by name; its own options stand beside the name. Source: PMD, Eq. 1, 2 and 4."""

    @field_validator("score", mode="before")
    @classmethod
    def _score_by_name(cls, given: Any) -> Any:
        return options_by_name(given, "scores", role="score")

    @field_validator("feature", mode="before")
    @classmethod
    def _feature_by_name(cls, given: Any) -> Any:
        return options_by_name(given, "mgfd", role="feature")

    @model_validator(mode="after")
    def _weights_leave_the_labels(self) -> LossConfig:
        if self.combination == "convex" and self.alpha + self.beta > 1.0:
            raise ValueError(
                f"alpha + beta must be at most 1, got {self.alpha} + {self.beta} = {self.alpha + self.beta:g}; "
                "lower one of them, or use combination: additive"
            )
        return self


def options_by_name(given: Any, default: str, *, role: str) -> LossOptions:
    """Turn a name, or a mapping with one, into the options of that loss.

    Raises:
        ValueError: no loss of that name, or it plays the other role.
    """
    if isinstance(given, LossOptions):
        return given
    if not isinstance(given, str | dict):
        raise ValueError(f"must be the name of a loss, or settings with one, as in {{name: {default}}}, got {given!r}")
    values: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    name = values.setdefault("name", default)
    if not isinstance(name, str):
        raise ValueError(f"name must be text, got {name!r}")
    part = plugins.load("loss", name)
    if role != part.ROLE:
        raise ValueError(f"'{name}' is a {part.ROLE} loss, not a {role} loss")
    options: LossOptions = part.Options.model_validate(values)
    return options
