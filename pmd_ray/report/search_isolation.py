"""The isolation view: for each value of a scientific parameter the best over all others, and the spread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from pmd_ray.report.search_ranges import Range, is_number, ranges_of
from pmd_ray.report.search_trials import Round, parameters_of, params_of, value_of
from pmd_ray.report.sheet import Cell, Sheet, number, sheet
from pmd_ray.spec.search_record import TrialRecord

FEW = 8
"""Steps at most that are shown one by one; more numbers are taken together in bins."""
BINS = 4
NOT_DRAWN = "not drawn"
"""Where the value of another parameter means that nothing reads this one."""
COLUMNS = ("round", "parameter", "value", "best", "trial", "trials", "median", "lowest")
TEXTS = ("round", "parameter", "value")
CAPTION = (
    "The best validation value for each value of a parameter, whatever the others were, its trial, and the spread of "
    "all its trials. A sampler looks longest where it is good: medians are no fair comparison, the best values are."
)


@dataclass(frozen=True, kw_only=True)
class Isolated:
    """One value of one parameter."""

    round: str
    parameter: str
    value: str
    trials: tuple[TrialRecord, ...]
    """Done and inside the space, best first."""


def isolated(rounds: Iterable[Round], nuisance: Sequence[str]) -> list[Isolated]:
    """Every scientific parameter that took two values or more in a round."""
    return [
        row
        for one in rounds
        for parameter in parameters_of(one.drawn)
        if not is_nuisance(parameter, nuisance)
        for row in _isolated(one, parameter)
    ]


def is_nuisance(parameter: str, nuisance: Sequence[str]) -> bool:
    """Whether a parameter is tuned alike for all: `alpha` names `alpha@2` too."""
    return parameter in nuisance or parameter.partition("@")[0] in nuisance


def isolation_sheet(rows: Iterable[Isolated]) -> Sheet:
    """Every figure with every digit."""
    return sheet("isolation", COLUMNS, map(_wide, rows), texts=TEXTS, caption=CAPTION)


def isolation_shown(rows: Iterable[Isolated]) -> Sheet:
    """The same for reading."""
    shown = [
        {name: number(cell) if isinstance(cell, float) else cell if cell is None else str(cell) for name, cell in row}
        for row in (_wide(one).items() for one in rows)
    ]
    return sheet("isolation", COLUMNS, shown, texts=TEXTS, caption=CAPTION)


def _isolated(one: Round, parameter: str) -> list[Isolated]:
    groups: dict[str, list[TrialRecord]] = {}
    places: dict[str, float] = {}
    told = _labels(one, parameter)
    for trial in one.ranked:
        if trial.inside:
            place, label = told[trial.number]
            groups.setdefault(label, []).append(trial)
            places[label] = place
    if len(groups) < 2:
        return []
    return [
        Isolated(round=one.title, parameter=parameter, value=label, trials=tuple(groups[label]))
        for label in sorted(groups, key=lambda label: (places[label], label))
    ]


def _labels(one: Round, parameter: str) -> dict[int, tuple[float, str]]:
    """By trial: where its value stands among the others, and what it is called."""
    params = {trial.number: params_of(trial) for trial in one.drawn}
    drawn = {number: found[parameter] for number, found in params.items() if parameter in found}
    missing = {number: (float("inf"), NOT_DRAWN) for number in params}
    found = ranges_of(one.drawn, parameter)
    if found is None or not all(is_number(value) for value in drawn.values()):
        order = [str(choice) for choice in found.choices] if found else []
        words = {number: str(value) for number, value in drawn.items()}
        places = {word: float(order.index(word)) if word in order else float(len(order)) for word in words.values()}
        return missing | {number: (places[word], word) for number, word in words.items()}
    few = FEW if found.step is not None else BINS
    if len(set(drawn.values())) <= few:
        return missing | {number: (float(value), f"{value:g}") for number, value in drawn.items()}
    return missing | {number: _bin(float(value), found) for number, value in drawn.items()}


def _bin(value: float, found: Range) -> tuple[float, str]:
    spaced = np.geomspace if found.log else np.linspace
    ends = [float(end) for end in spaced(found.low, found.high, BINS + 1)]
    place = min(int(np.searchsorted(ends, value, side="right")) - 1, BINS - 1)
    return float(place), f"{ends[max(place, 0)]:.3g} to {ends[max(place, 0) + 1]:.3g}"


def _wide(row: Isolated) -> dict[str, Cell]:
    values = [value_of(trial) for trial in row.trials]
    return {
        "round": row.round,
        "parameter": row.parameter,
        "value": row.value,
        "best": values[0],
        "trial": row.trials[0].number,
        "trials": len(values),
        "median": float(median(values)),
        "lowest": values[-1],
    }
