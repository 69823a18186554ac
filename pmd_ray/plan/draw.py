"""The stage tree as lines for a terminal: shared stages once, seeds folded, what is stored, costs, who asks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pmd_ray.plan.fold import Asker, Folded, Path, folded, paths
from pmd_ray.plan.study_plan import StudyPlan

NAMED_AT_MOST = 3
WHO_AT_LEAST = 22
"""Characters that the variants' column needs to stand beside the others."""


@dataclass(frozen=True)
class Glyphs:
    """What lines are drawn with."""

    branch: str = "├─ "
    last: str = "└─ "
    bar: str = "│  "
    arrow: str = " → "


ASCII = Glyphs("|- ", "`- ", "|  ", " > ")


@dataclass(frozen=True)
class Row:
    """One line before it is fitted."""

    tree: str
    """Bars and stages, such as `├─ 9:0.1 → 6:0.05 → 3`."""
    under: str
    """Bars for a line below it."""
    cost: str
    who: str


def tree_lines(plan: StudyPlan, *, width: int | None = None, glyphs: Glyphs = Glyphs()) -> list[str]:
    """The tree, a line for each unbranched run of stages; fitted to `width` characters, or never cut."""
    return _fitted(list(_rows(plan, paths(folded(plan)), glyphs)), width)


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= (2 if unit == "d" else 1) * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def _rows(
    plan: StudyPlan, drawn: Sequence[Path], glyphs: Glyphs, before: str = "", *, root: bool = True
) -> Iterator[Row]:
    for place, path in enumerate(drawn):
        ends = place == len(drawn) - 1
        here = before if root else before + (glyphs.last if ends else glyphs.branch)
        below = before if root else before + ("   " if ends else glyphs.bar)
        stages = glyphs.arrow.join(stage_label(node) for node in path.nodes)
        yield Row(
            tree=here + stages,
            under=below + (glyphs.bar if path.below else "   "),
            cost=_cost(plan, path),
            who=askers_label(plan, path.nodes[-1].askers),
        )
        yield from _rows(plan, path.below, glyphs, below, root=False)


def stage_label(node: Folded) -> str:
    """Layers, and the mask rate after a colon; names that say more than the layers stand before."""
    grade = node.first.grade
    plain = grade.name.partition("-")[0] == str(grade.layers) and not node.first.control_of
    rate = f":{grade.mask.rate:g}" if grade.mask.rate else ""
    return f"{'' if plain else grade.name + ' '}{grade.layers}{rate}"


def seeds_label(node: Folded) -> str:
    """`x 3 seeds`."""
    count = len(node.stages)
    return f"x {count} seed{'s' if count != 1 else ''}"


def stored_label(plan: StudyPlan, path: Path) -> str:
    """Empty, `stored`, or how many are."""
    stages = path.stages
    there = sum(stage.key in plan.stored_keys for stage in stages)
    return "" if not there else "stored" if there == len(stages) else f"{there} of {len(stages)} stored"


def _cost(plan: StudyPlan, path: Path) -> str:
    left = sum(plan.costs[stage.key].seconds for stage in path.stages if stage.key not in plan.stored_keys)
    mark = stored_label(plan, path)
    return mark if mark == "stored" else ", ".join(part for part in (duration(left), mark) if part)


def askers_label(plan: StudyPlan, askers: frozenset[Asker], *, at_most: int = NAMED_AT_MOST) -> str:
    """The variants by name where they are few, else how many."""
    places = plan.places
    names = sorted({variant for variant, _ in askers if variant in places}, key=places.__getitem__)
    text = ", ".join(names) if len(names) <= at_most else f"{len(names)} variants"
    if len(names) == plan.distinct_variants and len(names) > 1:
        text = f"all {len(names)} variants"
    arms = {arm for _, arm in askers if arm}
    if arms and len(arms) < len(plan.study.variants[0].arms):
        text += f" [{' or '.join(sorted(arms))}]" if len(arms) <= at_most else f" [{len(arms)} choices]"
    return text


def _fitted(rows: list[Row], width: int | None) -> list[str]:
    """Columns side by side; the variants' column is wrapped, or goes below where there is no room."""
    trees, costs = (max(len(getattr(row, part)) for row in rows) for part in ("tree", "cost"))
    before = trees + costs + 4
    beside = width is None or width - before >= WHO_AT_LEAST
    lines: list[str] = []
    for row in rows:
        room = None if width is None else max(WHO_AT_LEAST, width - (before if beside else len(row.under) + 2))
        first, *more = [row.who] if room is None else _wrapped(row.who, room)
        if beside:
            lines.append(f"{row.tree:<{trees}}  {row.cost:>{costs}}  {first}")
            lines += [f"{row.under:<{before}}{part}" for part in more]
        else:
            lines.append(f"{row.tree}  {row.cost}")
            lines += [f"{row.under}  {part}" for part in (first, *more)]
    return [line.rstrip() for line in lines]


def _wrapped(text: str, room: int) -> list[str]:
    """Lines of at most `room` characters; names that are longer are broken after an underscore or comma."""
    words: list[str] = []
    for word in text.split():
        while len(word) > room and (cut := max(word.rfind(mark, 0, room) for mark in "_,") + 1):
            words.append(word[:cut])
            word = word[cut:]
        words.append(word)
    return textwrap.wrap(" ".join(words), room, break_on_hyphens=False) or [""]
