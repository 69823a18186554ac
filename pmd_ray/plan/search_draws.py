"""Which trials a search would ask for: the enqueued ones, then points drawn at random from a fixed seed.

A sampler that learns draws other points, but shares stages in much the same way: a plan is made of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.draw import draw_chain, draw_grade
from pmd_ray.spec.enqueued import enqueued
from pmd_ray.spec.points import all_params, chain_of, chain_up_to, settings_of, settings_of_grade, targets_of
from pmd_ray.spec.schedules import layer_schedules
from pmd_ray.spec.search import Choice, SearchConfig, Span, Steps
from pmd_ray.spec.search_record import SAMPLED
from pmd_ray.spec.streams import stream_key
from pmd_ray.spec.suggest import Randomly

DRAWN_AT_MOST = 60
"""Trials of a round that are drawn where only hours or stages limit them."""
Point = tuple[str, dict[str, Any]]
"""Its origin, and its settings over the baseline."""
LISTED_AT_MOST = 1000
"""Combinations of a space that is not a grid, up to which its points are counted one by one (a second or so)."""
REPEATS = 50
"""Equal points in a row after which a space counts as used up, as for the searcher."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One trial as it might be."""

    origin: str
    """`sampled`, or what an enqueued point is called."""
    settings: dict[str, Any]
    """Over the baseline."""
    chain: ChainConfig


@dataclass(frozen=True, kw_only=True)
class DrawnRound:
    """The trials of one target depth or of all, or of one place of a beam."""

    name: str
    trials: tuple[Drawn, ...]
    points: int | None
    """Of its space, under one parent for a beam; None: no end of them, or more than a plan lists."""
    points_at_most: int | None
    """Had every combination been drawn; None: no end of them."""
    exact: bool
    """Whether as many stages are trained whichever points are drawn: in a grid, and below a beam's parents."""


def drawn_rounds(search: SearchConfig) -> tuple[DrawnRound, ...]:
    """The rounds of a search with as many trials as they would ask for, equal chains once."""
    if search.search.strategy == "grade":
        return tuple(_beam(search))
    return tuple(_whole(search, target) for target in targets_of(search))


def open_end(search: SearchConfig) -> bool:
    """Whether only hours or stages end the search."""
    return search.budget.trials is None and not search.is_grid and search.search.strategy != "grade"


def combinations(search: SearchConfig, target: int | None = None, *, one_grade: bool = False) -> int | None:
    """An upper bound of the points of a space, or of those of one grade of a beam; None: no end of them.

    Points that nothing tells apart, or that cannot be, are counted too.
    """
    space = search.space
    students = 1 if one_grade else len(chain_of(search, {}).grades) - 1
    counts: list[int | None] = [_count(setting.values) for setting in space.settings.values()]
    if space.layers is not None:
        schedules = layer_schedules(space.layers, target)
        counts.append(len(schedules))
        students = max(map(len, schedules)) - 1
    if space.masks is not None:
        rates = _count(space.masks.first) or 0
        # A grade of a beam has one rate, 0 where the last may have it.
        counts += [rates + 1] if one_grade else [rates, _count(space.masks.ratio), len(space.masks.last_zero)]
    if space.weights is not None:
        counts += [_count(space.weights.alpha), _count(space.weights.beta)] * (
            students if space.weights.per == "grade" else 1
        )
    known = [count for count in counts if count is not None]
    return math.prod(known) if len(known) == len(counts) else None


def _count(values: Choice | Steps | Span) -> int | None:
    return len(values.values()) if values.finite else None


def _whole(search: SearchConfig, target: int | None) -> DrawnRound:
    name = "chain" if target is None else f"layers-{target}"
    bound = combinations(search, target)
    listed = _listed(search, bound, lambda: all_params(search, target=target))
    suggest = Randomly(stream_key(search.seed, "plan", name))
    named = ((one.name, one.settings) for one in enqueued(search, target=target))
    drawn = _endlessly(lambda: settings_of(search, draw_chain(search, suggest, target=target), target=target))
    if search.is_grid and listed is not None:
        drawn = ((SAMPLED, settings_of(search, params, target=target)) for params in listed)
    limit = search.budget.trials or (None if search.is_grid else DRAWN_AT_MOST)
    return DrawnRound(
        name=name,
        trials=tuple(_distinct(search, chain(named, drawn), limit)),
        points=None if listed is None else len(listed),
        points_at_most=bound,
        exact=search.is_grid,
    )


def _beam(search: SearchConfig) -> Iterator[DrawnRound]:
    """Grade by grade; any children stand for the best ones, of which the next grade's are."""
    parents: list[dict[str, Any]] = [{}]
    bound = combinations(search, one_grade=True)
    for place in range(1, len(chain_of(search, {}).grades)):
        found = [child for number, above in enumerate(parents) for child in _children(search, place, above, number)]
        listed = _listed(search, bound, partial(_all_children, search, place, parents[0]))
        yield DrawnRound(
            name=f"grade-{place}",
            trials=tuple(found),
            points=None if listed is None else len(listed),
            points_at_most=bound,
            exact=True,
        )
        parents = [one.settings for one in found[: search.search.beam]]


def _children(search: SearchConfig, place: int, parent: dict[str, Any], number: int) -> Iterator[Drawn]:
    suggest = Randomly(stream_key(search.seed, "plan", place, number))

    def settings(params: dict[str, Any]) -> dict[str, Any]:
        return settings_of_grade(search, params, place=place, parent=parent)

    if search.is_grid:
        points = ((SAMPLED, settings(params)) for params in _all_children(search, place, parent))
        return _distinct(search, points, None, place=place)
    drawn = _endlessly(lambda: settings(draw_grade(search, suggest, place=place, parent=parent)))
    return _distinct(search, drawn, search.search.children, place=place)


def _all_children(search: SearchConfig, place: int, parent: dict[str, Any]) -> list[dict[str, Any]]:
    return all_params(search, target=None, place=place, parent=parent)


def _distinct(
    search: SearchConfig, points: Iterator[Point], limit: int | None, *, place: int | None = None
) -> Iterator[Drawn]:
    """The first `limit` points that mean different chains; fewer where a sampler would find repeats only."""
    seen: set[tuple[str, ...]] = set()
    repeats = 0
    for origin, settings in points:
        if len(seen) == limit or (repeats > REPEATS and not search.is_grid):
            return
        built = chain_of(search, settings) if place is None else chain_up_to(search, settings, place=place)
        means = tuple(meaning(built))
        if means in seen:
            repeats += 1
            continue
        seen.add(means)
        repeats = 0
        yield Drawn(origin=origin, settings=settings, chain=built)


def _endlessly(draw: Callable[[], dict[str, Any]]) -> Iterator[Point]:
    while True:
        yield SAMPLED, draw()


def _listed(
    search: SearchConfig, bound: int | None, points: Callable[[], list[dict[str, Any]]]
) -> list[dict[str, Any]] | None:
    """Every point; None where there is no end of them, or too many."""
    many = bound is None or bound > LISTED_AT_MOST
    return None if many and not search.is_grid else points()
