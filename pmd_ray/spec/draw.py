"""Draws a point of a search: one question after another, none that nothing would read, none without a chain.

The same walk serves Optuna's trials, lists of every point, random draws and points given before: only who answers
differs (`spec/suggest.py`). It goes: layers, who teaches, masks, weights, then the other settings in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draft import CHAIN_KEYS
from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.schedules import (
    alpha_of_ratio,
    fitting,
    layer_schedules,
    mask_schedule,
    on_grid,
    weights_of_ratios,
)
from pmd_ray.spec.search import Choice, SearchConfig, SettingSpace, Span, Steps, WeightSpace
from pmd_ray.spec.search_chain import STUDENTS, chain_of, is_one_of, read_of, reads_feature, values_at
from pmd_ray.spec.suggest import Suggest as Suggest
from pmd_ray.spec.suggest import meant, suggested
from pmd_ray.spec.variants import touched

PROBES_AT_MOST = 8
"""Values tried to learn whether a setting is read."""


def draw_chain(search: SearchConfig, suggest: Suggest, *, target: int | None) -> dict[str, Any]:
    """Draw the params of a whole chain; where layers are searched, its last student has `target` (None: any)."""
    return walk_chain(search, suggest, target=target).params


def draw_grade(search: SearchConfig, suggest: Suggest, *, place: int, parent: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the params of the student at `place` (1 = first after the teacher), given its parent's settings."""
    return walk_grade(search, suggest, place=place, parent=parent).params


def base_name(param: str) -> str:
    """The parameter without its place and condition: `beta` of `beta@2|alpha=0.5`."""
    return param.partition("|")[0].partition("@")[0]


@dataclass
class Drawing:
    """A point while it is drawn."""

    search: SearchConfig
    suggest: Suggest
    settings: dict[str, Any] = field(default_factory=dict)
    """Dotted, over the baseline."""
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def chain(self) -> ChainConfig:
        """As far as it is drawn; the rest is the baseline's."""
        return chain_of(self.search, self.settings)

    def value(self, name: str, values: Choice | Steps | Span) -> Any:
        """One of the values; asked for only where there are two or more."""
        if values.finite and len(values.values()) == 1:
            return values.values()[0]
        self.params[name] = suggested(self.suggest, name, values)
        return meant(values, self.params[name])

    def reads(self, write: Callable[[Any], dict[str, Any]], values: Choice | Steps | Span) -> bool:
        """Whether two of the values, written as settings, give chains that differ in what is read."""
        seen: set[tuple[str, ...]] = set()
        for value in probes(values):
            try:
                seen.add(read_of(self.search, {**self.settings, **write(value)}))
            except SpecError:
                continue
            if len(seen) > 1:
                return True
        return False


def probes(values: Choice | Steps | Span) -> Sequence[Any]:
    """Some of the values, or all of a few."""
    if isinstance(values, Choice):
        return values.choices
    if not values.finite:
        return [int(values.low), int(values.high)] if values.whole else [values.low, values.high]  # type: ignore[union-attr]
    listed = values.values()
    return listed if len(listed) <= PROBES_AT_MOST else [listed[0], listed[len(listed) // 2], listed[-1]]


def walk_chain(search: SearchConfig, suggest: Suggest, *, target: int | None) -> Drawing:
    """Draw a whole chain, as params and as settings."""
    drawing = Drawing(search, suggest)
    _draw_layers(drawing, target)
    others = [pair for pair in search.space.settings.items() if not decides(pair[0])]
    _draw_settings(drawing, [pair for pair in search.space.settings.items() if decides(pair[0])])
    _draw_masks(drawing)
    weights = search.space.weights
    if weights is not None:
        places = _taught(drawing.chain, weights)
        if weights.per == "chain":
            _draw_weights(drawing, weights, places)
        else:
            for place in places:
                _draw_weights(drawing, weights, [place], mark=f"@{place}")
    _draw_settings(drawing, others)
    return drawing


def walk_grade(search: SearchConfig, suggest: Suggest, *, place: int, parent: Mapping[str, Any]) -> Drawing:
    """Draw one student of a chain, as params and as settings; those of the parent stay."""
    drawing = Drawing(search, suggest, dict(parent))
    name = drawing.chain.grades[place].name
    own = [(key, space) for key, space in search.space.settings.items() if own_key(key, name) is not None]
    _draw_settings(drawing, [pair for pair in own if decides(pair[0])], grade=name)
    _draw_mask_rate(drawing, place)
    weights = search.space.weights
    if weights is not None and place in _taught(drawing.chain, weights):
        _draw_weights(drawing, weights, [place])
    _draw_settings(drawing, [pair for pair in own if not decides(pair[0])], grade=name)
    return drawing


def decides(key: str) -> bool:
    """Whether a setting is drawn before masks and weights, because it says who is taught."""
    return touched(key.removeprefix(STUDENTS)) == "teacher"


def own_key(key: str, grade: str) -> str | None:
    """A searched setting as that of one grade alone; None where it is another grade's."""
    head, _, rest = key.partition(".")
    if head == "grades":
        name, _, rest = rest.partition(".")
        return f"grades.{grade}.{rest}" if name in ("*", grade) else None
    return f"grades.{grade}.{key.removeprefix(STUDENTS)}"


def written_for(key: str, value: Any, chain: ChainConfig) -> dict[str, Any]:
    """A searched setting in the words of `--set`."""
    if not key.startswith(STUDENTS):
        return {key: value}
    return {f"grades.{grade.name}.{key.removeprefix(STUDENTS)}": value for grade in chain.grades[1:]}


def _draw_layers(drawing: Drawing, target: int | None) -> None:
    space = drawing.search.space.layers
    if space is None:
        return
    written = tuple("-".join(map(str, layers)) for layers in layer_schedules(space, target))
    chosen = drawing.value("layers", Choice(choices=written))
    drawing.settings["layers"] = [int(layers) for layers in chosen.split("-")]


def _draw_masks(drawing: Drawing) -> None:
    space, students = drawing.search.space.masks, len(drawing.chain.grades) - 1
    if space is None or not students:
        return
    first = drawing.value("mask.first", space.first)

    def schedules(*, last_zero: bool) -> set[tuple[float, ...]]:
        return {mask_schedule(first, r, students=students, last_zero=last_zero) for r in space.ratio.values()}

    last_zero, ratio = space.last_zero[0], space.ratio.values()[0]
    if len(space.last_zero) > 1 and schedules(last_zero=True) != schedules(last_zero=False):
        last_zero = drawing.value("mask.last_zero", Choice(choices=space.last_zero))
    if len(schedules(last_zero=last_zero)) > 1:
        ratio = drawing.value("mask.ratio", space.ratio)
    drawing.settings["mask_rates"] = list(mask_schedule(first, ratio, students=students, last_zero=last_zero))


def _draw_mask_rate(drawing: Drawing, place: int) -> None:
    """Rates not above the parent's; the last student's may be 0, or is."""
    space, grades = drawing.search.space.masks, drawing.chain.grades
    if space is None:
        return
    rates = sorted({on_grid(rate) for rate in space.first.values()})
    is_last = 1 < place == len(grades) - 1
    if is_last and True in space.last_zero:
        rates = [0.0] if space.last_zero == (True,) else sorted({0.0, *rates})
    name, above = "mask.rate", grades[place - 1].mask.rate
    below = [rate for rate in rates if place == 1 or rate <= above + 1e-9] or [0.0]
    if len(below) < len(rates):
        name = f"mask.rate|parent={above:g}"
    drawing.settings[f"grades.{grades[place].name}.mask.rate"] = drawing.value(name, Choice(choices=tuple(below)))


def _taught(chain: ChainConfig, weights: WeightSpace) -> list[int]:
    """Places of the students that the weights apply to."""
    return [p for p in range(weights.from_student, len(chain.grades)) if chain.teacher_of(p) is not None]


def _draw_weights(drawing: Drawing, space: WeightSpace, places: Sequence[int], *, mark: str = "") -> None:
    """One pair for the students at some places."""
    if not places:
        return
    chain = drawing.chain
    alpha = drawing.value(f"alpha{mark}", space.alpha)
    beta = None
    if any(_may_read_feature(drawing, place) for place in places):
        beta = _draw_beta(drawing, space, alpha, mark)
    pairs = [_pair(space, alpha, beta, kept=chain.grades[place].loss.beta) for place in places]
    everywhere = list(places) == list(range(1, len(chain.grades))) and len(set(pairs)) == 1
    heads = [""] if everywhere else [f"grades.{chain.grades[place].name}." for place in places]
    for head, (own_alpha, own_beta) in zip(heads, pairs, strict=False):
        drawing.settings[f"{head}loss.alpha"] = own_alpha
        if beta is not None:
            drawing.settings[f"{head}loss.beta"] = own_beta


def _draw_beta(drawing: Drawing, space: WeightSpace, alpha: float, mark: str) -> float:
    """Beta, or its ratio: of the grid's values those that fit beside alpha."""
    name, values = f"beta{mark}", space.beta
    if space.form == "grid" and values.finite:
        fit = fitting(values.values(), alpha)
        if len(fit) < len(values.values()):
            name, values = f"{name}|alpha={alpha:g}", Choice(choices=tuple(fit))
    return float(drawing.value(name, values))


def _pair(space: WeightSpace, alpha: float, beta: float | None, *, kept: float) -> tuple[float, float]:
    """Alpha and beta of a student whose beta is `kept` where none is drawn."""
    if space.form == "grid":
        return alpha, kept if beta is None else beta
    return (alpha_of_ratio(alpha, beta=kept), kept) if beta is None else weights_of_ratios(alpha, beta)


def _may_read_feature(drawing: Drawing, place: int) -> bool:
    """Whether beta matters to a student now, or with some value of a feature loss that is searched, too."""
    grade = drawing.chain.grades[place]
    if reads_feature(grade):
        return True
    for key, space in drawing.search.space.settings.items():
        own = own_key(key, grade.name)
        if own is None or not touched(own).startswith("loss.feature"):
            continue
        for value in probes(space.values):
            try:
                chain = chain_of(drawing.search, {**drawing.settings, own: value})
            except SpecError:
                continue
            if reads_feature(chain.grades[place]):
                return True
    return False


def _draw_settings(drawing: Drawing, spaces: Sequence[tuple[str, SettingSpace]], *, grade: str | None = None) -> None:
    """Settings of all grades that they address, or of one alone."""
    for key, space in spaces:
        chain = drawing.chain

        def write(value: Any, key: str = key, chain: ChainConfig = chain) -> dict[str, Any]:
            return written_for(key, value, chain) if grade is None else {str(own_key(key, grade)): value}

        if not all(_holds(chain, wanted, legal, grade) for wanted, legal in space.when.items()):
            continue
        alone = space.values.finite and len(space.values.values()) == 1
        if alone or drawing.reads(write, space.values):
            drawing.settings |= write(drawing.value(key, space.values))


def _holds(chain: ChainConfig, key: str, legal: tuple[Any, ...], grade: str | None) -> bool:
    """Whether a chain, or one grade of it, has one of the values there."""
    own = key if grade is None or key.partition(".")[0] in CHAIN_KEYS else own_key(key, grade)
    try:
        return own is not None and any(is_one_of(value, legal) for value in values_at(chain, own))
    except KeyError:
        return False
