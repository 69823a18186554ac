"""A search: a baseline chain, a typed space around it, a strategy, a budget, and how the winner is confirmed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pmd_ray.spec.base import Frozen
from pmd_ray.spec.keys import digest
from pmd_ray.spec.search_values import Choice as Choice
from pmd_ray.spec.search_values import Span as Span
from pmd_ray.spec.search_values import Steps as Steps
from pmd_ray.spec.search_values import Values, highest
from pmd_ray.spec.study import Metric

Scalar = bool | int | float | str | None
STRATEGIES = ("chain", "grade", "grid", "random")
SAMPLERS = ("tpe", "nsga2", "gp", "cmaes", "random", "grid")
PRUNERS = ("none", "asha", "hyperband", "wilcoxon")
OBJECTIVES = ("metric", "parameters", "latency", "cost")
Role = Literal["scientific", "nuisance"]
WEIGHT_AT_MOST = 0.9
"""Of alpha + beta: the paper's corner 0.5 + 0.5 has no label loss."""
RATIO_AT_MOST = WEIGHT_AT_MOST / (1.0 - WEIGHT_AT_MOST)
"""Of (alpha + beta) / (1 - alpha - beta)."""


class LayerSpace(Frozen):
    """Layer schedules: `first`, then an ordered subset of `between`, then the target."""

    first: tuple[int, ...] = Field(min_length=1)
    """The teacher's layers and those of grades that every chain has, such as [12, 12]."""
    between: tuple[int, ...] = ()
    """Depths that may lie on the way."""
    at_most: int = Field(default=3, ge=0, le=3)
    """Of them, in one chain."""
    at_least: int = Field(default=0, ge=0, le=3)
    targets: tuple[int, ...] = Field(min_length=1)
    """Depths of the last student: one study each."""

    @model_validator(mode="after")
    def _fall(self) -> LayerSpace:
        errors = []
        if min(*self.first, *self.between, *self.targets, 1) < 1:
            errors.append("a grade has 1 layer or more")
        if list(self.first) != sorted(self.first, reverse=True):
            errors.append(f"first must not rise, got {list(self.first)}")
        for key, depths in (("between", self.between), ("targets", self.targets)):
            if len(set(depths)) < len(depths):
                errors.append(f"{key} names each depth once, got {list(depths)}")
        high = [depth for depth in self.targets if depth >= self.first[-1]]
        if high:
            errors.append(f"targets must be below {self.first[-1]}, the last of first, got {high}")
        if self.at_least > self.at_most:
            errors.append(f"at_least must not be above at_most, got {self.at_least} > {self.at_most}")
        for target in set(self.targets) - set(high):
            there = sum(target < depth < self.first[-1] for depth in self.between)
            if there < self.at_least:
                errors.append(f"between holds {there} depths above target {target}, at_least asks for {self.at_least}")
        if errors:
            raise ValueError("; ".join(errors))
        return self


class MaskSpace(Frozen):
    """Mask schedules that never rise: rate i is first x ratio^i, rounded to the 0.05 grid; the last may be 0."""

    first: Values
    """Rate of the first student, in [0, 0.5]."""
    ratio: Values = Choice(choices=(0.25, 0.5, 0.75, 1.0))
    """Decay from student to student, in [0, 1]. Source: PMD, 4.1: 0.5."""
    last_zero: tuple[bool, ...] = Field(default=(True, False), min_length=1, max_length=2)
    """Whether the last of two students or more reads clean text. Source: PMD, 4.1: yes."""

    @field_validator("last_zero")
    @classmethod
    def _each_once(cls, options: tuple[bool, ...]) -> tuple[bool, ...]:
        if len(set(options)) < len(options):
            raise ValueError(f"each of true and false once, got {list(options)}")
        return options

    @field_validator("first", "ratio")
    @classmethod
    def _within(cls, values: Choice | Steps | Span, info: ValidationInfo) -> Choice | Steps | Span:
        top = 0.5 if info.field_name == "first" else 1.0
        if not values.finite:
            raise ValueError("must be a list or have a step, so that equal schedules meet")
        numbers = values.values()
        if not all(type(number) in (int, float) and 0.0 <= number <= top for number in numbers):
            raise ValueError(f"must be numbers from 0 to {top:g}, got {list(numbers)}")
        return values


class WeightSpace(Frozen):
    """Weights of score loss (alpha) and feature loss (beta)."""

    form: Literal["grid", "log_ratio"] = "grid"
    """`grid`: alpha and beta themselves, alpha + beta at most 0.9. `log_ratio`: each over the label loss's weight
    1 - alpha - beta, so that no combination is impossible."""
    alpha: Values = Choice(choices=(0.1, 0.2, 0.3, 0.4, 0.5))
    """Source: PMD, 4.1."""
    beta: Values = Choice(choices=(0.1, 0.2, 0.3, 0.4, 0.5))
    """Source: PMD, 4.1."""
    per: Literal["chain", "grade"] = "chain"
    """One pair for all students, or one for each."""
    from_student: int = Field(default=1, ge=1)
    """The first student that they apply to; those before keep the baseline's."""

    @field_validator("alpha", "beta")
    @classmethod
    def _numbers_from_0(cls, values: Choice | Steps | Span) -> Choice | Steps | Span:
        ends = values.choices if isinstance(values, Choice) else (values.low, values.high)
        if not all(type(end) in (int, float) and end >= 0.0 for end in ends):
            raise ValueError(f"must be numbers from 0, got {list(ends)}")
        return values

    @model_validator(mode="after")
    def _leave_the_labels(self) -> WeightSpace:
        alpha, beta = highest(self.alpha), highest(self.beta)
        endless = isinstance(self.alpha, Span) or isinstance(self.beta, Span)
        if self.form == "log_ratio":
            if alpha + beta > RATIO_AT_MOST + 1e-9:
                raise ValueError(
                    f"ratios to the label loss may add up to {RATIO_AT_MOST:g} (alpha + beta = {WEIGHT_AT_MOST:g}), "
                    f"got {alpha:g} + {beta:g}; lower the upper ends"
                )
        elif endless and alpha + beta > WEIGHT_AT_MOST + 1e-9:
            raise ValueError(
                f"alpha + beta may reach {WEIGHT_AT_MOST:g}, got {alpha:g} + {beta:g}; lower the upper ends, give "
                "steps, or use form: log_ratio"
            )
        elif not endless and alpha + min(self.beta.values()) > WEIGHT_AT_MOST + 1e-9:
            raise ValueError(
                f"alpha + beta may reach {WEIGHT_AT_MOST:g}, so no beta goes with alpha {alpha:g}; leave it out"
            )
        return self


class SettingSpace(Frozen):
    """One setting of the chain, as `--set` names it."""

    values: Values
    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Other searched settings to the values with which this one is read; it is drawn only then."""


class SpaceConfig(Frozen):
    """What may vary; a part that is not given stays the baseline's."""

    layers: LayerSpace | None = None
    masks: MaskSpace | None = None
    weights: WeightSpace | None = None
    settings: dict[str, SettingSpace] = Field(default_factory=dict)
    """By dotted key, in the order in which they are drawn."""


class StrategyConfig(Frozen):
    """How points are chosen, and which trials end early."""

    strategy: Literal["chain", "grade", "grid", "random"] = "chain"
    sampler: Literal["tpe", "nsga2", "gp", "cmaes", "random", "grid"] = "tpe"
    pruner: Literal["none", "asha", "hyperband", "wilcoxon"] = "none"
    grace_epochs: int = Field(default=1, ge=1)
    """Epochs that every trial is given before a pruner looks."""
    reduction: int = Field(default=3, ge=2)
    """Of ASHA and Hyperband: one in so many goes on."""
    p_threshold: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Of the Wilcoxon pruner: p below which a trial is worse than the best (Optuna: 0.1)."""
    prune_on: Literal["any", "target"] | None = None
    """Compare trials at any epoch of the chain, or at epochs of the last grade alone; null: `target` where layers are
    searched (chains of other depths cannot be compared on the way), else `any`."""
    beam: int = Field(default=1, ge=1)
    """Strategy grade: parents kept at each grade."""
    children: int = Field(default=8, ge=1)
    """Strategy grade: children of each parent."""
    startup: int = Field(default=10, ge=1)
    """Random points before a model of the values is used (TPE, GP, CMA-ES)."""
    objectives: tuple[Literal["metric", "parameters", "latency", "cost"], ...] = ("metric",)
    """More than one: true multi-objective, without pruning; one study then holds chains of every target depth."""
    warm_start: bool = False
    """Tell the sampler of finished trials of earlier searches on this storage with the same question."""

    @property
    def is_grid(self) -> bool:
        """Whether every point is tried, in order, and none is drawn."""
        return "grid" in (self.strategy, self.sampler)

    @model_validator(mode="after")
    def _objectives_fit(self) -> StrategyConfig:
        asked = self.objectives
        if asked[:1] != ("metric",) or len(set(asked)) < len(asked):
            raise ValueError(f"objectives must start with metric and name each once, got {list(asked)}")
        if len(asked) > 1 and self.pruner != "none":
            raise ValueError(
                f"pruner {self.pruner} ranks trials by the metric alone, objectives are {', '.join(asked)}; "
                "use pruner: none, or one objective"
            )
        if len(asked) > 1 and self.strategy == "grade":
            raise ValueError("strategy grade keeps the best parents by the metric; use objectives: [metric]")
        if len(asked) > 1 and self.strategy == "chain" and self.sampler == "cmaes":
            raise ValueError("sampler cmaes takes one objective; use tpe or nsga2")
        return self


class EnqueueConfig(Frozen):
    """Points that are tried first, in this order; they may lie outside the space."""

    default: bool = True
    """The baseline as it is."""
    paper: bool = True
    """The paper's setting as far as the baseline's depth allows, its single changes, masks 30/15/10/0, and the layer
    schedule 10-8-6-4 where the teacher has 12 layers."""
    points: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Name to dotted settings laid over the baseline (layers and mask_rates too)."""


class SearchBudget(Frozen):
    """What the search may cost; whichever is reached first. Enqueued trials count."""

    trials: int | None = Field(default=None, ge=1)
    """Of each target depth; of all together where there are several objectives."""
    hours: float | None = Field(default=None, gt=0.0)
    """Wall-clock of all runs of the search together, without the confirmation."""
    stages: int | None = Field(default=None, ge=1)
    """Stages trained for it."""


class ConfirmConfig(Frozen):
    """The best are trained again over fresh seeds, and only then scored on test."""

    best: int = Field(default=1, ge=0)
    """How many at most; those within one standard error of the best are told apart by it. 0: no confirmation."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """None of them the search's own."""
    settings: dict[str, Any] = Field(default_factory=lambda: {"optimiser.schedule": "linear"})
    """Laid over winner and default alike. Source: PMD, 4.1 (linear decay)."""

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"must list whole numbers from 0, each once, got {list(seeds)}")
        return seeds


class SearchConfig(Frozen):
    """A whole search."""

    name: str = Field(min_length=1, max_length=80)
    about: str = ""
    drafts: tuple[dict[str, Any], ...]
    """The baseline with the file's settings and what `--set` said, later ones over earlier ones."""
    seed: int = Field(default=0, ge=0)
    """Of sampling and training."""
    metric: Metric = "mrr"
    """On the validation split."""
    space: SpaceConfig
    search: StrategyConfig = StrategyConfig()
    enqueue: EnqueueConfig = EnqueueConfig()
    budget: SearchBudget = SearchBudget(trials=20)
    confirm: ConfirmConfig = ConfirmConfig()
    nuisance: tuple[str, ...] = ()
    """Parameters of the space that are tuned for every value of the others alike; the others are scientific."""

    @property
    def meaning(self) -> str:
        """Digest of what decides which points are tried and what they are worth: another one is another search."""
        return digest(self.model_dump(mode="json", exclude={"about", "budget", "confirm", "nuisance"}))

    @property
    def is_grid(self) -> bool:
        """Whether every point of the space is tried."""
        return self.search.is_grid

    @property
    def multi_objective(self) -> bool:
        """Whether more than the metric is optimised at once."""
        return len(self.search.objectives) > 1
