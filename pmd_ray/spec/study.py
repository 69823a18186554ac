"""An ablation: a baseline chain, named differences to it, seeds, and the questions asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pmd_ray.spec.base import Frozen
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.keys import digest

BASELINE = "baseline"
Metric = Literal["mrr", "hits@1", "hits@3", "hits@10"]


class RolesConfig(Frozen):
    """Roles of factors (Google's tuning playbook): what is asked, what is tuned alike for all, what stays."""

    scientific: tuple[str, ...] = ()
    """Settings in which variants may differ, such as mask.rate or loss; empty = whatever they differ in."""
    nuisance: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Setting to the values tried for every variant alike; validation MRR of the last grade chooses."""
    fixed: tuple[str, ...] = ()
    """Settings that no variant may change."""


class CompareConfig(Frozen):
    """One question: which pairs are compared, on what. p-values are adjusted (Holm) within it."""

    question: str = "Does a variant differ from the baseline?"
    """In words, for the table's caption."""
    pairs: tuple[tuple[str, str], ...] = ()
    """[variant, its control] each; empty = every variant against the baseline."""
    metric: Metric = "mrr"
    grade: str = "last"
    """Which grade: `last` of each chain, `each` depth that both have, or a number of layers."""
    alternative: Literal["two-sided", "greater", "less"] = "two-sided"
    """What is to be shown of variant minus control."""
    margin: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Non-inferiority: how much worse than its control a variant may be, such as 0.005 (0.5 points of MRR)."""

    @model_validator(mode="after")
    def _margin_asks_for_no_less(self) -> CompareConfig:
        if self.margin is not None and self.alternative == "less":
            raise ValueError("a margin asks whether the variant is not worse; alternative: less asks the contrary")
        return self

    @field_validator("grade", mode="before")
    @classmethod
    def _layers_as_text(cls, grade: Any) -> Any:
        return str(grade) if type(grade) is int else grade

    @field_validator("grade")
    @classmethod
    def _grade_is_known(cls, grade: str) -> str:
        if grade not in ("last", "each") and not grade.isdecimal():
            raise ValueError(f"must be last, each or a number of layers, got '{grade}'")
        return grade


class BudgetConfig(Frozen):
    """What the study may cost; the plan warns where it will not do."""

    hours: float | None = Field(default=None, gt=0.0)
    """CPU-hours, or GPU-hours where stages run on GPUs."""
    stages: int | None = Field(default=None, ge=1)
    """Stages trained, not counting those that the store has."""


class ArmConfig(Frozen):
    """One choice of the nuisance settings, the same for every variant."""

    label: str = ""
    """Such as `optimiser.lr=0.0001`; empty where nothing is tuned."""
    chain: ChainConfig
    """With the first seed; see `StudyConfig.runs`."""


class VariantConfig(Frozen):
    """The baseline plus a difference."""

    name: str
    parent: str | None = None
    """The variant that it derives from; None for the baseline itself."""
    difference: dict[str, Any] = Field(default_factory=dict)
    """Dotted settings laid over the baseline, inherited ones included."""
    factors: dict[str, str] = Field(default_factory=dict)
    """Factor to level, for a cell of a product."""
    alias_of: str | None = None
    """An earlier variant that means the same: a cell of a product in which something is not read."""
    arms: tuple[ArmConfig, ...]


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One chain of a study, with its seed."""

    variant: str
    arm: str
    seed: int
    chain: ChainConfig


class StudyConfig(Frozen):
    """A whole study, every chain written out."""

    name: str = Field(min_length=1, max_length=80)
    about: str = ""
    """What it asks, in a sentence or two."""
    seeds: tuple[int, ...]
    variants: tuple[VariantConfig, ...]
    """The baseline first."""
    roles: RolesConfig = RolesConfig()
    compare: tuple[CompareConfig, ...] = (CompareConfig(),)
    budget: BudgetConfig = BudgetConfig()

    def runs(self) -> Iterator[StudyRun]:
        """Every chain: variants, each with its arms, each with every seed; aliases are not run again."""
        for variant in self.variants:
            if variant.alias_of is not None:
                continue
            for arm in variant.arms:
                for seed in self.seeds:
                    chain = arm.chain.model_copy(update={"seed": seed})
                    yield StudyRun(variant=variant.name, arm=arm.label, seed=seed, chain=chain)

    def variant(self, name: str) -> VariantConfig:
        """The variant of that name; KeyError where there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)

    def pairs(self, compare: CompareConfig) -> list[tuple[str, str]]:
        """The pairs of a question, written out."""
        if compare.pairs:
            return list(compare.pairs)
        others = [v.name for v in self.variants if v.name != BASELINE and v.alias_of is None]
        return [(name, BASELINE) for name in others]

    @property
    def meaning(self) -> str:
        """Digest of what is run and asked: another one means that the file was changed."""
        return digest(self.model_dump(mode="json", exclude={"about", "budget"}))
