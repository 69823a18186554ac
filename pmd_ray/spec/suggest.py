"""Who answers when a point is drawn: Optuna's trial, a point given before, chance, or a list of every point.

A drawing asks for one parameter after another; what it asks next may depend on the answers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pmd_ray.spec.keys import canonical_json
from pmd_ray.spec.search import Choice, Span, Steps

NEAR = 1e-9
"""Numbers closer than this, taken relatively, are one number."""


class Suggest(Protocol):
    """What a drawing asks; `optuna.Trial` has these methods."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from `low` to `high`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from `low` to `high`."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices, which are scalars."""


def suggested(suggest: Suggest, name: str, values: Choice | Steps | Span) -> Any:
    """One of the values, as `suggest` writes it: mappings and lists as JSON text."""
    if isinstance(values, Choice):
        return suggest.suggest_categorical(name, [written(value) for value in values.choices])
    if isinstance(values, Span):
        if values.whole:
            return suggest.suggest_int(name, int(values.low), int(values.high), log=values.log)
        return suggest.suggest_float(name, values.low, values.high, log=values.log)
    listed = values.values()
    if is_whole(values):
        return suggest.suggest_int(name, int(listed[0]), int(listed[-1]), step=int(values.step))
    return suggest.suggest_float(name, listed[0], listed[-1], step=values.step)


def is_whole(values: Steps) -> bool:
    """Whether all of them are whole numbers."""
    return values.low.is_integer() and values.step.is_integer()


def meant(values: Choice | Steps | Span, answer: Any) -> Any:
    """The value that an answer stands for: steps without the noise of floating point, JSON text read."""
    if isinstance(values, Steps):
        return answer if is_whole(values) else round(answer, 10)
    if isinstance(values, Choice):
        return next((value for value in values.choices if written(value) == answer), answer)
    return answer


def written(value: Any) -> Any:
    """A value as a categorical choice of Optuna."""
    return canonical_json(value) if isinstance(value, dict | list | tuple) else value


class Given:
    """Answers from a point; LookupError where it has no such parameter, or a value that cannot be drawn here."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """See `Suggest`."""
        value = self._number(name, low, high)
        steps = 0.0 if step is None else (value - low) / step
        if abs(steps - round(steps)) > 1e-6:
            raise LookupError(f"{name}: {value} is no step of {step} from {low}")
        return value

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """See `Suggest`."""
        value = self._number(name, low, high)
        if value != round(value) or (round(value) - low) % step:
            raise LookupError(f"{name}: {value} is no step of {step} from {low}")
        return round(value)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """See `Suggest`."""
        value = self._answer(name)
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
            if _is_number(choice) and _is_number(value) and math.isclose(choice, value, rel_tol=NEAR, abs_tol=NEAR):
                return choice
        raise LookupError(f"{name}: {value!r} is none of {list(choices)}")

    def _answer(self, name: str) -> Any:
        for known in (name, name.partition("|")[0]):
            if known in self._params:
                return self._params[known]
        raise LookupError(f"{name}: the point does not say")

    def _number(self, name: str, low: float, high: float) -> float:
        value = self._answer(name)
        room = NEAR * max(1.0, abs(high))
        if not _is_number(value) or not low - room <= value <= high + room:
            raise LookupError(f"{name}: {value!r} is not from {low} to {high}")
        return float(min(max(value, low), high))


class Randomly:
    """Draws every answer at random, each value as likely as the next (of a log range, each ratio)."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """See `Suggest`."""
        if step is not None:
            return low + step * self._random.randrange(round((high - low) / step) + 1)
        if log:
            return min(max(math.exp(self._random.uniform(math.log(low), math.log(high))), low), high)
        return self._random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """See `Suggest`."""
        if log:
            return min(round(self.suggest_float(name, low, high, log=True)), high)
        return self._random.randrange(low, high + 1, step)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """See `Suggest`."""
        return choices[self._random.randrange(len(choices))]


class EndlessError(LookupError):
    """A range without steps was asked where every value is to be listed; the argument is the parameter's name."""


class Listing:
    """Answers the first value of everything, then, after each `advance`, the next point in order.

    Args:
        chance: Answer by it instead, to learn how many values there are on the way.
    """

    def __init__(self, *, chance: random.Random | None = None) -> None:
        self._chance = chance
        self._path: list[int] = []
        self._counts: list[int] = []

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values each parameter of the point drawn last could have had."""
        return tuple(self._counts)

    def advance(self) -> bool:
        """Go to the next point; False after the last one."""
        path = (self._path + [0] * len(self._counts))[: len(self._counts)]
        while path and path[-1] + 1 == self._counts[len(path) - 1]:
            path.pop()
        if not path:
            return False
        path[-1] += 1
        self._path, self._counts = path, []
        return True

    def restart(self) -> None:
        """Forget the point drawn last."""
        self._path, self._counts = [], []

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """See `Suggest`."""
        if step is None:
            raise EndlessError(name)
        return round(low + step * self._place(round((high - low) / step) + 1), 10)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """See `Suggest`."""
        if log:
            raise EndlessError(name)
        return low + step * self._place((high - low) // step + 1)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """See `Suggest`."""
        return choices[self._place(len(choices))]

    def _place(self, count: int) -> int:
        depth = len(self._counts)
        self._counts.append(count)
        if self._chance is not None:
            return self._chance.randrange(count)
        return self._path[depth] if depth < len(self._path) else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
