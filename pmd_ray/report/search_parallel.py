"""The trials of a round in parallel coordinates, computed before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

from pmd_ray.report.search_ranges import is_number, ranges_of
from pmd_ray.report.search_trials import Round, parameters_of, params_of, value_of

NOT_DRAWN = "not drawn"
BELOW = -0.12
"""Where a parameter stands that was not drawn; the axis itself runs from 0 to 1."""
FEWEST_AXES, FEWEST_LINES = 2, 3
"""Below these a figure would say nothing."""
TICKS_AT_MOST = 6
WORDS_AT_MOST = 12
"""More values of a word are marked by the first and the last one alone."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One parameter, or the value."""

    name: str
    ticks: tuple[tuple[float, str], ...]
    """Height and what is written there."""


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """One round; its last axis is the value."""

    round: str
    axes: tuple[Axis, ...]
    lines: tuple[tuple[float, ...], ...]
    """Heights on each axis, the best trial last."""


def parallels(rounds: Iterable[Round]) -> list[Parallel]:
    """Every round with enough varied parameters and trials of the space."""
    found = (_parallel(one) for one in rounds)
    return [one for one in found if one is not None]


def _parallel(one: Round) -> Parallel | None:
    trials = [trial for trial in reversed(one.ranked) if trial.inside]
    axes: list[Axis] = []
    columns: list[list[float]] = []
    for parameter in parameters_of(one.drawn):
        found = ranges_of(one.drawn, parameter)
        values = [params_of(trial).get(parameter, NOT_DRAWN) for trial in trials]
        if len(set(map(str, values))) > 1:
            ticks, heights = _laid_out(values, log=found is not None and found.log)
            axes.append(Axis(name=parameter, ticks=ticks))
            columns.append(heights)
    if len(axes) < FEWEST_AXES or len(trials) < FEWEST_LINES:
        return None
    ticks, heights = _laid_out([value_of(trial) for trial in trials], log=False)
    return Parallel(
        round=one.title,
        axes=(*axes, Axis(name="value", ticks=ticks)),
        lines=tuple(zip(*columns, heights, strict=True)),
    )


def _laid_out(values: Sequence[Any], *, log: bool) -> tuple[tuple[tuple[float, str], ...], list[float]]:
    """Ticks of an axis, and the height of each value."""
    there = [value for value in values if value != NOT_DRAWN]
    ticks, heights = _numbers(there, log=log) if all(map(is_number, there)) else _words(there)
    if len(there) < len(values):
        ticks = ((BELOW, NOT_DRAWN), *ticks)
    return ticks, [BELOW if value == NOT_DRAWN else heights[str(value)] for value in values]


def _numbers(values: Sequence[float], *, log: bool) -> tuple[tuple[tuple[float, str], ...], dict[str, float]]:
    distinct = sorted(set(values))
    scaled = [log10(value) for value in distinct] if log and distinct[0] > 0 else [float(value) for value in distinct]
    width = scaled[-1] - scaled[0]
    at = {value: (place - scaled[0]) / width if width else 0.5 for value, place in zip(distinct, scaled, strict=True)}
    shown = distinct if len(distinct) <= TICKS_AT_MOST else [distinct[0], distinct[-1]]
    return tuple((at[value], f"{value:.3g}") for value in shown), {str(value): at[value] for value in values}


def _words(values: Sequence[Any]) -> tuple[tuple[tuple[float, str], ...], dict[str, float]]:
    words = sorted(set(map(str, values)), key=_by_figures)
    at = {word: place / max(len(words) - 1, 1) for place, word in enumerate(words)}
    shown = words if len(words) <= WORDS_AT_MOST else [words[0], words[-1]]
    return tuple((at[word], word) for word in shown), at


def _by_figures(text: str) -> tuple[tuple[float, str], ...]:
    """Sorts 6-4-2 before 10-8-6."""
    return tuple((float(part), "") if part.isdecimal() else (float("inf"), part) for part in text.split("-"))
