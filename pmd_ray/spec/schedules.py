"""The schedules of a search: which layers a chain may have, which mask rates, which loss weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from pmd_ray.spec.search import WEIGHT_AT_MOST, LayerSpace

GRID = 0.05
"""Mask rates are multiples of it, so that schedules meet and share stages."""


def layer_schedules(space: LayerSpace, target: int | None) -> list[tuple[int, ...]]:
    """Every way from the teacher to a student of `target` layers, the shortest first; None: to each target in turn."""
    if target is None:
        return [layers for one in space.targets for layers in layer_schedules(space, one)]
    between = sorted((d for d in space.between if target < d < space.first[-1]), reverse=True)
    counts = range(space.at_least, min(space.at_most, len(between)) + 1)
    return [(*space.first, *chosen, target) for count in counts for chosen in combinations(between, count)]


def on_grid(rate: float) -> float:
    """The nearest multiple of the mask grid; half-way the even one: 0.2 halved three times is 0, as in the paper."""
    return round(round(round(rate / GRID, 9)) * GRID, 10)


def mask_schedule(first: float, ratio: float, *, students: int, last_zero: bool) -> tuple[float, ...]:
    """Rates first x ratio^i on the grid; they never rise. `last_zero`: the last of two or more is 0."""
    rates = [on_grid(first * ratio**place) for place in range(students)]
    return (*rates[:-1], 0.0) if last_zero and students > 1 else tuple(rates)


def fitting(betas: Sequence[float], alpha: float) -> list[float]:
    """Those that leave the labels their share beside `alpha`."""
    return [beta for beta in betas if alpha + beta <= WEIGHT_AT_MOST + 1e-9]


def weights_of_ratios(score: float, feature: float) -> tuple[float, float]:
    """Alpha and beta whose ratios to the label loss's weight, 1 - alpha - beta, are these.

    Rounded to 6 digits, so that the ratios of 0.1 and 0.1 give 0.1 and 0.1 again.
    """
    labels = 1.0 / (1.0 + score + feature)
    return round(score * labels, 6), round(feature * labels, 6)


def alpha_of_ratio(score: float, *, beta: float) -> float:
    """Alpha whose ratio to the label loss's weight is `score` where beta stays as it is."""
    return round(score * (1.0 - beta) / (1.0 + score), 6)


def ratios_of_weights(alpha: float, beta: float) -> tuple[float, float]:
    """What alpha and beta are to the label loss's weight; infinite where it has none."""
    labels = 1.0 - alpha - beta
    if labels <= 0.0:
        return float("inf"), float("inf")
    return alpha / labels, beta / labels
