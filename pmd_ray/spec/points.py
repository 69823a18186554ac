"""Points of a search: what was drawn as settings and as a chain, and back; every point of a finite space."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draw import own_key, walk_chain, walk_grade, written_for
from pmd_ray.spec.errors import SpecError, UserError
from pmd_ray.spec.keys import grade_identity
from pmd_ray.spec.schedules import mask_schedule, ratios_of_weights
from pmd_ray.spec.search import Choice, SearchConfig, SettingSpace, Span, Steps
from pmd_ray.spec.search_chain import chain_of as chain_of
from pmd_ray.spec.search_chain import meaning_of, values_at
from pmd_ray.spec.suggest import EndlessError, Given, Listing, Suggest, written
from pmd_ray.spec.variants import flattened

POINTS_AT_MOST = 10_000
"""Of a grid."""
WALKS = 16
"""Through a space, to estimate its size before it is listed."""


def targets_of(search: SearchConfig) -> list[int | None]:
    """Depths of the last student, one Optuna study each; [None]: one study, of one depth or for several objectives."""
    space = search.space.layers
    return [None] if space is None or search.multi_objective else list(space.targets)


def depths_of(search: SearchConfig) -> list[int]:
    """Depths in which chains of the search may end."""
    space = search.space.layers
    return [chain_of(search, {}).grades[-1].layers] if space is None else list(space.targets)


def settings_of(search: SearchConfig, params: Mapping[str, Any], *, target: int | None) -> dict[str, Any]:
    """The dotted settings of a point, over the baseline.

    Raises:
        LookupError: the space has no such point; says which parameter is missing or out of bounds.
    """
    return walk_chain(search, Given(params), target=target).settings


def settings_of_grade(
    search: SearchConfig, params: Mapping[str, Any], *, place: int, parent: Mapping[str, Any]
) -> dict[str, Any]:
    """The dotted settings of a chain up to the student at `place`: its parent's, and what was drawn for it.

    Raises:
        LookupError: as `settings_of`.
    """
    return walk_grade(search, Given(params), place=place, parent=parent).settings


def chain_up_to(search: SearchConfig, settings: Mapping[str, Any], *, place: int) -> ChainConfig:
    """The chain of some settings without the grades after the one at `place`: a trial of strategy grade.

    Raises:
        SpecError: it cannot be built.
    """
    chain = chain_of(search, settings)
    return chain.model_copy(update={"grades": chain.grades[: place + 1]})


def params_of(search: SearchConfig, settings: Mapping[str, Any], *, target: int | None) -> dict[str, Any] | None:
    """The params that draw exactly the chain of these settings; None where the space does not hold it."""
    try:
        chain = chain_of(search, settings)
    except SpecError:
        return None
    wanted = meaning_of(search, settings)
    answers = {"layers": "-".join(str(grade.layers) for grade in chain.grades)}
    answers |= _weights_in(search, chain)
    for key, space in search.space.settings.items():
        answers |= _setting_in(search, settings, key, space)
    for masks in _masks_in(search, chain):
        try:
            drawing = walk_chain(search, Given({**answers, **masks}), target=target)
            if meaning_of(search, drawing.settings) == wanted:
                return drawing.params
        except (LookupError, SpecError):
            continue
    return None


def params_of_grade(
    search: SearchConfig, settings: Mapping[str, Any], *, place: int, parent: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The params that give the student at `place`, below that parent, what these settings give it; None: no such."""
    try:
        chain = chain_of(search, settings)
        grade = chain.grades[place]
        answers = _weights_at(search, grade.loss.alpha, grade.loss.beta) | {"mask.rate": grade.mask.rate}
        for key, space in search.space.settings.items():
            answers |= _setting_in(search, settings, own_key(key, grade.name) or key, space, name=key)
        drawing = walk_grade(search, Given(answers), place=place, parent=parent)
        drawn = drawing.chain
    except (LookupError, SpecError):
        return None
    same = _identity(drawn, place) == _identity(chain, place)
    return drawing.params if same else None


def _identity(chain: ChainConfig, place: int) -> dict[str, Any]:
    return grade_identity(chain.grades[place], taught=chain.teacher_of(place) is not None)


def all_params(
    search: SearchConfig, *, target: int | None, place: int | None = None, parent: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Every point of a finite space once, in the order of its values.

    Args:
        place: List the points of the student there alone, given its parent's settings.

    Raises:
        UserError: a parameter has no end of values, or there are more than 10,000 points.
    """

    def walk(suggest: Suggest) -> dict[str, Any]:
        if place is None:
            return walk_chain(search, suggest, target=target).params
        return walk_grade(search, suggest, place=place, parent=parent or {}).params

    found: list[dict[str, Any]] = []
    try:
        about = _about_how_many(walk)
        if about < 10 * POINTS_AT_MOST:
            listing = Listing()
            for _ in range(POINTS_AT_MOST):
                found.append(walk(listing))
                if not listing.advance():
                    return found
    except EndlessError as error:
        raise UserError(
            f"space: {error.args[0]} has no end of values to list; give it a list or a step, or use strategy: chain"
        ) from None
    raise UserError(
        f"space: {POINTS_AT_MOST:,} points at most can be listed, there are more (about {about:,.0f}); leave values "
        "out, or use strategy: chain or random"
    )


def _about_how_many(walk: Callable[[Suggest], dict[str, Any]]) -> float:
    """Points of a finite space, from random walks: on average the product of the choices on the way (Knuth 1975)."""
    listing = Listing(chance=random.Random(0))
    total = 0.0
    for _ in range(WALKS):
        walk(listing)
        total += math.prod(listing.counts) / WALKS
        listing.restart()
    return total


def _masks_in(search: SearchConfig, chain: ChainConfig) -> Iterator[dict[str, Any]]:
    """Answers on masks that give the chain's rates."""
    space, rates = search.space.masks, tuple(grade.mask.rate for grade in chain.grades[1:])
    if space is None or not rates:
        yield {}
        return
    for first, zero, ratio in itertools.product(space.first.values(), space.last_zero, space.ratio.values()):
        if mask_schedule(first, ratio, students=len(rates), last_zero=zero) == rates:
            yield {"mask.first": first, "mask.last_zero": zero, "mask.ratio": ratio}


def _weights_in(search: SearchConfig, chain: ChainConfig) -> dict[str, Any]:
    """Alpha and beta of each student, and, for all, of the last."""
    answers: dict[str, Any] = {}
    for place, grade in enumerate(chain.grades):
        own = _weights_at(search, grade.loss.alpha, grade.loss.beta)
        answers |= own | {f"{name}@{place}": value for name, value in own.items()}
    return answers


def _weights_at(search: SearchConfig, alpha: float, beta: float) -> dict[str, Any]:
    weights = search.space.weights
    if weights is None:
        return {}
    if weights.form == "log_ratio":
        alpha, beta = ratios_of_weights(alpha, beta)
    return {"alpha": _nearest(weights.alpha, alpha), "beta": _nearest(weights.beta, beta)}


def _nearest(values: Choice | Steps | Span, number: float) -> float:
    """Of listed values the nearest: weights are rounded, and who asks compares the chains."""
    return min(values.values(), key=lambda value: abs(value - number)) if values.finite else number


def _setting_in(
    search: SearchConfig, settings: Mapping[str, Any], key: str, space: SettingSpace, *, name: str | None = None
) -> dict[str, Any]:
    """The answer on one setting that a chain has: in a range its number, of a list the value that changes nothing."""
    name = key if name is None else name
    chain, wanted = chain_of(search, settings), meaning_of(search, settings)
    if isinstance(space.values, Span):
        try:
            there = values_at(chain, key)
        except KeyError:
            return {}
        return {name: there[0]} if all(value == there[0] for value in there) else {}
    for value in space.values.values():
        own = written_for(key, value, chain)
        for laid in ({**settings, **own}, replaced(settings, own)):
            try:
                if meaning_of(search, laid) == wanted:
                    return {name: written(value)}
            except SpecError:
                continue
    return {}


def replaced(settings: Mapping[str, Any], by: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted settings with others in their place, and in the place of what lies below those."""
    kept = {
        key: value
        for key, value in flattened(settings).items()
        if not any(key == new or key.startswith(f"{new}.") for new in by)
    }
    return kept | dict(by)
