"""Values that a parameter of a search may have: a list, steps, or a range."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from pmd_ray.spec.base import Frozen

POWER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
"""YAML takes 1e-4 for a word, and only 1.0e-4 for a number."""
LISTED_AT_MOST = 10_000
"""Values of one parameter: more are never listed."""


class Choice(Frozen):
    """One of some values."""

    choices: tuple[Any, ...] = Field(min_length=1)
    """Scalars, or settings as a mapping or list (`{name: pkd, state: mean}`)."""

    @field_validator("choices")
    @classmethod
    def _each_once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        choices = tuple(float(one) if isinstance(one, str) and POWER.fullmatch(one) else one for one in given)
        twice = [value for place, value in enumerate(choices) if value in choices[:place]]
        if twice:
            raise ValueError(f"each value once, got {twice[0]!r} twice (1, 1.0 and true are one value)")
        return choices

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
        if (self.high - self.low) / self.step >= LISTED_AT_MOST:
            raise ValueError(f"step makes more than {LISTED_AT_MOST:,} values, got {self.step:g}; raise it")
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
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"whole needs whole ends, got {self.low:g} and {self.high:g}")
        return self

    @property
    def finite(self) -> bool:
        """Whether its values can be listed."""
        return self.whole and not self.log and self.high - self.low < LISTED_AT_MOST

    def values(self) -> tuple[int, ...]:
        """Every value, in order; ValueError where there is no end of them."""
        if not self.finite:
            raise ValueError("a range without steps has no list of values")
        return tuple(range(int(self.low), int(self.high) + 1))


def highest(values: Choice | Steps | Span) -> float:
    """The largest of some numbers."""
    return float(values.high if isinstance(values, Span) else max(values.values()))


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
