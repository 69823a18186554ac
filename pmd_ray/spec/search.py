"""A search: a baseline chain, a typed space around it, a strategy, a budget, and how the winner is confirmed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from pmd_ray.spec.base import Frozen
from pmd_ray.spec.keys import digest
from pmd_ray.spec.study import Metric

Scalar = bool | int | float | str | None
STRATEGIES = ("chain", "grade", "grid", "random")
SAMPLERS = ("tpe", "nsga2", "gp", "cmaes", "random", "grid")
PRUNERS = ("none", "asha", "hyperband", "wilcoxon")
OBJECTIVES = ("metric", "parameters", "latency", "cost")
Role = Literal["scientific", "nuisance"]


class Choice(Frozen):
    """One of some values."""

    choices: tuple[Any, ...] = Field(min_length=1)
    """Scalars, or settings as a mapping or list (`{name: pkd, state: mean}`)."""

    @property
    def finite(self) -> bool:
        """Whether its values can be listed."""
        return True

    def values(self) -> tuple[Any, ...]:
        """Every value, in order."""
        return self.choices


class Steps(Frozen):
    """Numbers from `low` to `high` in equal steps."""

    low: float
    high: float
    step: float = Field(gt=0.0)

    @model_validator(mode="after")
    def _right_way_up(self) -> Steps:
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low:g} > {self.high:g}")
        return self

    @property
    def finite(self) -> bool:
        """Whether its values can be listed."""
        return True

    def values(self) -> tuple[float, ...]:
        """Every value, in order."""
        count = int((self.high - self.low) / self.step + 1e-9) + 1
        return tuple(round(self.low + place * self.step, 10) for place in range(count))


class Span(Frozen):
    """Any number between `low` and `high`, uniform or log-uniform; whole numbers where asked."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _right_way_up(self) -> Span:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range must start above 0, got {self.low:g}")
        return self

    @property
    def finite(self) -> bool:
        """Whether its values can be listed."""
        return self.whole and not self.log

    def values(self) -> tuple[int, ...]:
        """Every value, in order; ValueError where there is no end of them."""
        if not self.finite:
            raise ValueError("a range without steps has no list of values")
        return tuple(range(int(self.low), int(self.high) + 1))


def _listed(given: Any) -> Any:
    return {"choices": given} if isinstance(given, list | tuple) else given


def _form(given: Any) -> str:
    if isinstance(given, dict):
        return "choice" if "choices" in given else "steps" if "step" in given else "span"
    return "steps" if isinstance(given, Steps) else "span" if isinstance(given, Span) else "choice"


Values = Annotated[
    Annotated[Choice, Tag("choice")] | Annotated[Steps, Tag("steps")] | Annotated[Span, Tag("span")],
    Discriminator(_form),
    BeforeValidator(_listed),
]
"""In a file: a list is a Choice, {low, high, step} Steps, {low, high[, log][, whole]} a Span."""


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


class MaskSpace(Frozen):
    """Mask schedules that never rise: rate i is first x ratio^i, rounded to the 0.05 grid; the last may be 0."""

    first: Values
    """Rate of the first student, in [0, 0.5]."""
    ratio: Values = Choice(choices=(0.25, 0.5, 0.75, 1.0))
    """Decay from student to student, in [0, 1]. Source: PMD, 4.1: 0.5."""
    last_zero: tuple[bool, ...] = Field(default=(True, False), min_length=1, max_length=2)
    """Whether the last of two students or more reads clean text. Source: PMD, 4.1: yes."""

    @field_validator("first", "ratio")
    @classmethod
    def _within(cls, values: Choice | Steps | Span, info: ValidationInfo) -> Choice | Steps | Span:
        top = 0.5 if info.field_name == "first" else 1.0
        if not values.finite:
            raise ValueError("must be a list or have a step, so that equal schedules meet")
        numbers = values.values()
        if not all(isinstance(number, int | float) and 0.0 <= number <= top for number in numbers):
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
    """More than one: true multi-objective, without pruning."""
    warm_start: bool = False
    """Tell the sampler of finished trials of earlier searches on this storage with the same question."""


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
    """Of each target depth."""
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
    def multi_objective(self) -> bool:
        """Whether more than the metric is optimised at once."""
        return len(self.search.objectives) > 1
