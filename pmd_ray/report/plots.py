"""What the figures show, computed before anything is drawn: series of means with their seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pmd_ray.report.lines import Chain, Line, Role, Slot
from pmd_ray.report.measures import TITLES, Floats
from pmd_ray.spec.study import BASELINE, StudyConfig
from pmd_ray.spec.variants import touched

PerSeed = Callable[[Line, str], Floats]
"""[S] a line's metric for each seed that counts."""
SCHEDULE_METRICS = ("mrr", "hits@1", "hits@3", "hits@10")
"""Panels of the paper's Figure 2."""
MASK_METRICS = ("hits@1", "hits@10")
"""Panels of the paper's Figure 3."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One mean, with the seeds that it is the mean of."""

    x: float
    mean: float
    seeds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Series:
    """Dots that belong together."""

    name: str
    dots: tuple[Dot, ...]
    look: str = "variant"
    """`baseline`, `variant`, `teacher` or `alone` (without a teacher)."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes."""

    title: str
    series: tuple[Series, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One figure of panels with the same x axis."""

    name: str
    title: str
    x_label: str
    panels: tuple[Panel, ...]
    x_ticks: tuple[float, ...] | None = None
    """Where the values of x are few; else the drawing chooses."""
    unit: float = 1.0
    """What x is divided by."""


def size_chart(chains: Sequence[Chain], parameters: Mapping[str, int], per_seed: PerSeed) -> Chart | None:
    """MRR against parameters: each variant's students, teachers, and students without a teacher.

    None where all networks are of one size.

    Args:
        parameters: By line id; what has none is left out.
    """
    series: list[Series] = []
    drawn: set[tuple[str, str]] = set()

    def add(name: str, lines: Sequence[Line], look: str) -> None:
        known = [line for line in lines if line.seeds and line.id in parameters]
        marks = {(look, line.id) for line in known}
        if known and (look in ("baseline", "variant") or not marks <= drawn):  # shared ones are drawn once
            drawn.update(marks)
            dots = [_dot(parameters[line.id], per_seed(line, "mrr")) for line in known]
            series.append(Series(name=name, dots=tuple(sorted(dots, key=lambda dot: dot.x)), look=look))

    for chain in chains:
        look = "baseline" if chain.variant == BASELINE else "variant"
        add(chain.variant, [line for line in chain.lines if line.slot is Slot.LATER], look)
    for chain in chains:
        alone = [line for line in chain.lines if line.slot is Slot.CONTROL]
        add(f"{chain.variant}, {Role.ALONE}", alone, "alone")
    teachers = {line.id for chain in chains for line in chain.lines if line.slot is Slot.FIRST and line.seeds}
    for chain in chains:
        first = [line for line in chain.lines if line.slot is Slot.FIRST]
        add("teacher" if len(teachers) == 1 else f"teacher of {chain.variant}", first, "teacher")
    if len({dot.x for one in series for dot in one.dots}) < 2:
        return None
    panel = Panel(title="MRR", series=tuple(series))
    return Chart(
        name="mrr_parameters", title="MRR against parameters", x_label="parameters, millions", panels=(panel,), unit=1e6
    )


def schedule_chart(chains: Sequence[Chain], per_seed: PerSeed) -> Chart | None:
    """The paper's Figure 2: metrics against the students' layers, one line a variant.

    None unless two variants have students of two depths.
    """
    students = {chain.variant: _deepest_first(chain) for chain in chains}
    shown = {variant: lines for variant, lines in students.items() if lines}
    if sum(len(lines) > 1 for lines in shown.values()) < 2:
        return None
    panels = [
        Panel(
            title=TITLES[metric],
            series=tuple(
                Series(
                    name=variant,
                    dots=tuple(_dot(line.layers, per_seed(line, metric)) for line in lines),
                    look="baseline" if variant == BASELINE else "variant",
                )
                for variant, lines in shown.items()
            ),
        )
        for metric in SCHEDULE_METRICS
    ]
    depths = {float(line.layers) for lines in shown.values() for line in lines}
    return Chart(
        name="schedules",
        title="Students by depth",
        x_label="layers of the student",
        panels=tuple(panels),
        x_ticks=tuple(sorted(depths)),
    )


def mask_chart(study: StudyConfig, chains: Sequence[Chain], per_seed: PerSeed) -> Chart | None:
    """The paper's Figure 3: Hits@1 and Hits@10 against the mask rate of one grade.

    None unless three variants or more differ in nothing but the mask rate of one grade.
    """
    pure = {
        v.name for v in study.variants if all(touched(key) == "mask.rate" for key in v.difference) and not v.alias_of
    }
    rivals = [chain for chain in chains if chain.variant in pure and chain.seeds]
    place = _only_place([[(line.layers, line.mask_rate) for line in chain.lines] for chain in rivals])
    if place is None:
        return None
    lines = sorted((chain.lines[place] for chain in rivals), key=lambda line: line.mask_rate)
    panels = []
    for metric in MASK_METRICS:
        dots = tuple(_dot(line.mask_rate, per_seed(line, metric)) for line in lines)
        panels.append(Panel(title=TITLES[metric], series=(Series(name=lines[0].grade, dots=dots, look="baseline"),)))
    return Chart(
        name="mask_rate",
        title=f"Mask rate of the grade with {lines[0].layers} layers",
        x_label="mask rate",
        panels=tuple(panels),
    )


def _only_place(rows: Sequence[Sequence[tuple[int, float]]]) -> int | None:
    """The one grade whose mask rate takes three values or more while depths and all other rates are equal."""
    if not rows or len({tuple(layers for layers, _ in row) for row in rows}) != 1:
        return None
    rates = [{row[place][1] for row in rows} for place in range(len(rows[0]))]
    varied = [place for place, values in enumerate(rates) if len(values) > 1]
    return varied[0] if len(varied) == 1 and len(rates[varied[0]]) >= 3 else None


def _deepest_first(chain: Chain) -> list[Line]:
    """The last student of each depth, where it has figures."""
    by_depth = {line.layers: line for line in chain.lines if line.slot is Slot.LATER and line.seeds}
    return [by_depth[layers] for layers in sorted(by_depth, reverse=True)]


def _dot(x: float, values: Floats) -> Dot:
    return Dot(x=float(x), mean=float(np.mean(values)), seeds=tuple(float(value) for value in values))
