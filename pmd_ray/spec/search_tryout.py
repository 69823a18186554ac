"""A search file is tried on random points: each must be a chain, and every parameter must come up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pmd_ray.spec.draw import Drawing, base_name, walk_chain, walk_grade
from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.points import targets_of
from pmd_ray.spec.search import Choice, SearchConfig, Span, Steps
from pmd_ray.spec.search_chain import chain_of
from pmd_ray.spec.suggest import Randomly

DRAWS_AT_LEAST, DRAWS_AT_MOST = 12, 200
"""More than the least only until every parameter has come up."""


def drawing_errors(search: SearchConfig) -> list[str]:
    """What random draws show: a point that is no chain, a parameter that never comes up, a space of one point."""
    drawn: set[str] = set()
    wanted = {key for key, space in search.space.settings.items() if not _is_one(space.values)}
    weights = search.space.weights
    if weights is not None and not _is_one(weights.alpha):
        wanted.add("alpha")
    for number in range(DRAWS_AT_MOST):
        if number >= DRAWS_AT_LEAST and wanted <= drawn:
            break
        try:
            for drawing in drawings(search, number):
                drawn |= {base_name(name) for name in drawing.params}
        except SpecError as error:
            return [f"space: a point of it cannot be built: {line}; draw by `when`" for line in error.errors]
    missing = sorted(wanted - drawn)
    if not drawn and not missing:
        return ["space: holds one point only; give a parameter two values or more"]
    return [
        "space.weights: no student that they apply to has a teacher; lower from_student, or leave weights out"
        if name == "alpha"
        else f"space.settings.{name}: is never drawn, as nothing reads it or its `when` never holds; put what it "
        "depends on before it, or leave it out"
        for name in missing
    ]


def drawings(search: SearchConfig, number: int) -> Iterator[Drawing]:
    """A random point that can be built: whole, or grade by grade where the strategy goes so.

    Raises:
        SpecError: it cannot.
    """
    chance = Randomly(number)
    if search.search.strategy != "grade":
        targets = targets_of(search)
        drawing = walk_chain(search, chance, target=targets[number % len(targets)])
        chain_of(search, drawing.settings)
        yield drawing
        return
    settings: dict[str, Any] = {}
    for place in range(1, len(chain_of(search, {}).grades)):
        drawing = walk_grade(search, chance, place=place, parent=settings)
        settings = drawing.settings
        chain_of(search, settings)
        yield drawing


def _is_one(values: Choice | Steps | Span) -> bool:
    return values.finite and len(values.values()) == 1
