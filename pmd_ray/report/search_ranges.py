"""What a parameter was drawn from, and which best values lie at the edge of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isclose, log
from typing import Any

from pmd_ray.report.search_trials import Round, base_of
from pmd_ray.spec.search_record import SearchRecord, TrialRecord

NEAR = 0.02
"""Share of a range without steps that counts as its edge."""
FEWEST_CHOICES = 3
"""Of numbers, to have an edge that says something."""
GRID_LIMITS = {"alpha": (0.0, 0.9), "beta": (0.0, 0.9)}
NATURAL = {"mask.first": (0.0, 0.5), "mask.rate": (0.0, 0.5), "mask.ratio": (0.0, 1.0)}
"""Where a range cannot go on. Every other setting's is 0, or 1 where it counts."""
WEIGHTS_AT_MOST = 0.9
"""Alpha + beta of the paper's grid."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Of numbers, in order, or of words."""

    choices: tuple[Any, ...] = ()
    """Of a categorical parameter."""
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False

    @property
    def numeric(self) -> bool:
        """Whether it has a lower and an upper end."""
        return not self.choices

    def share(self, value: float) -> float:
        """Where a number lies: 0 at the lower end, 1 at the upper one."""
        if self.high == self.low:
            return 0.0
        if self.log:
            return log(value / self.low) / log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The best trial of a round has a value at an end of its range."""

    round: str
    trial: int
    parameter: str
    value: float
    upper: bool

    @property
    def text(self) -> str:
        """A warning."""
        end, way = ("upper", "higher") if self.upper else ("lower", "lower")
        return (
            f"{self.round}: the best trial ({self.trial}) has {self.parameter} = {self.value:g}, the {end} end of its "
            f"range: the optimum may lie {way}; widen the range and run the search again."
        )


def range_of(trial: TrialRecord, parameter: str) -> Range | None:
    """The range of a parameter of a trial, by its own name; None where it was not drawn."""
    from optuna.distributions import CategoricalDistribution, json_to_distribution

    name = next((name for name in trial.params if base_of(name) == parameter), None)
    if name is None or name not in trial.distributions:
        return None
    found: Any = json_to_distribution(trial.distributions[name])
    if not isinstance(found, CategoricalDistribution):
        return Range(low=float(found.low), high=float(found.high), step=found.step, log=found.log)
    if len(found.choices) >= FEWEST_CHOICES and all(is_number(choice) for choice in found.choices):
        numbers = sorted(float(choice) for choice in found.choices if isinstance(choice, int | float))
        return Range(low=numbers[0], high=numbers[-1], step=numbers[1] - numbers[0])
    return Range(choices=tuple(found.choices))


def ranges_of(trials: Iterable[TrialRecord], parameter: str) -> Range | None:
    """The range over several trials: choices together, numbers from the lowest to the highest end."""
    found = [one for trial in trials if (one := range_of(trial, parameter)) is not None]
    if not found:
        return None
    if not all(one.numeric for one in found):
        return Range(choices=tuple(dict.fromkeys(choice for one in found for choice in one.choices)))
    return Range(
        low=min(one.low for one in found),
        high=max(one.high for one in found),
        step=found[0].step,
        log=all(one.log for one in found),
    )


def edges(record: SearchRecord, rounds: Iterable[Round]) -> list[Edge]:
    """Numbers of each round's best trial at an end of their range, unless the range cannot go on there."""
    return [edge for one in rounds if one.best is not None for edge in _edges(record, one, one.best)]


def _edges(record: SearchRecord, one: Round, best: TrialRecord) -> Iterable[Edge]:
    for name, value in best.params.items():
        parameter = base_of(name)
        found = range_of(best, parameter)
        if found is None or not found.numeric or not is_number(value) or found.low == found.high:
            continue
        tolerance = NEAR if found.step is None else 1e-9
        for upper in (False, True):
            end = found.high if upper else found.low
            at_end = abs(found.share(float(value)) - upper) <= tolerance
            if at_end and not _natural(record, best, parameter, end, upper=upper):
                yield Edge(round=one.title, trial=best.number, parameter=parameter, value=float(value), upper=upper)


def _natural(record: SearchRecord, best: TrialRecord, parameter: str, end: float, *, upper: bool) -> bool:
    kind = parameter.partition("@")[0]
    weights = record.search.space.weights
    limits = dict(NATURAL)
    if weights is not None and weights.form == "grid":
        limits |= GRID_LIMITS
        pairs = zip(best.alphas, best.betas, strict=False)
        if upper and kind in GRID_LIMITS and any(a + b >= WEIGHTS_AT_MOST - 1e-9 for a, b in pairs):
            return True
    if kind in limits:
        return isclose(end, limits[kind][upper], abs_tol=1e-9)
    return not upper and end in (0.0, 1.0)


def is_number(value: object) -> bool:
    """Whether a value is a number; a truth is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
