"""The stage tree with seeds folded and unbranched runs of stages on one line: what both drawings draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pmd_ray.plan.study_plan import StudyPlan
from pmd_ray.plan.tree import PlannedStage

Asker = tuple[str, str]
"""Variant, and choice of the nuisance settings."""


@dataclass(kw_only=True)
class Folded:
    """One stage in all its seeds."""

    stages: list[PlannedStage]
    """Of each seed one."""
    askers: frozenset[Asker]
    children: list[Folded] = field(default_factory=list)

    @property
    def first(self) -> PlannedStage:
        """Stands for all seeds."""
        return self.stages[0]


@dataclass(frozen=True, kw_only=True)
class Path:
    """Stages that follow each other and are asked for by the same variants."""

    nodes: tuple[Folded, ...]
    below: tuple[Path, ...]

    @property
    def stages(self) -> list[PlannedStage]:
        """Of all seeds."""
        return [stage for node in self.nodes for stage in node.stages]


def folded(plan: StudyPlan) -> list[Folded]:
    """The roots of the tree with seeds folded: stages that the same grades of the same variants use."""
    nodes: dict[tuple[frozenset[tuple[str, str, str]], str | None], Folded] = {}
    of_stage: dict[str, Folded] = {}
    roots: list[Folded] = []
    for stage in plan.tree.stages.values():
        above = of_stage[stage.teacher_key] if stage.teacher_key else None
        uses = frozenset((use.variant, use.arm, use.grade) for use in stage.uses)
        at = (uses, above.first.key if above else None)
        node = nodes.get(at)
        if node is None:
            node = nodes[at] = Folded(stages=[], askers=frozenset((variant, arm) for variant, arm, _ in uses))
            (above.children if above else roots).append(node)
        node.stages.append(stage)
        of_stage[stage.key] = node
    return roots


def paths(roots: list[Folded]) -> tuple[Path, ...]:
    """Runs of stages without a branch, as one."""
    return tuple(_path(root) for root in roots)


def everyone(nodes: list[Folded]) -> Iterator[Folded]:
    """All nodes, each before those below it."""
    for node in nodes:
        yield node
        yield from everyone(node.children)


def _path(node: Folded) -> Path:
    run = [node]
    while len(run[-1].children) == 1 and run[-1].children[0].askers == node.askers:
        run.append(run[-1].children[0])
    return Path(nodes=tuple(run), below=paths(run[-1].children))
