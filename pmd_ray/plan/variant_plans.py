"""What each variant adds to a study: its stages, and those that no earlier variant asks for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pmd_ray.plan.tree import StageTree
from pmd_ray.spec.study import StudyConfig


@dataclass(frozen=True, kw_only=True)
class VariantPlan:
    """What one variant adds."""

    name: str
    difference: dict[str, Any]
    stages: int
    """Distinct stages of all its runs."""
    new_stages: int
    """Of those, the ones that no earlier variant asks for."""
    left: int
    """Of those, the ones that are not stored."""
    alias_of: str | None


def variant_plans(study: StudyConfig, tree: StageTree, stored: Collection[str]) -> tuple[VariantPlan, ...]:
    """Every variant in the file's order; aliases have the stages of what they mean."""
    keys: dict[str, dict[str, None]] = {}
    for run in tree.runs:
        keys.setdefault(run.variant, {}).update(dict.fromkeys(use.key for use in run.stages))
    seen, there = set[str](), frozenset(stored)
    found = []
    for variant in study.variants:
        mine = keys[variant.alias_of or variant.name].keys()
        fresh = {key for key in mine if key not in seen}  # a view less a set would copy the set: of all variants, all
        seen |= mine
        found.append(
            VariantPlan(
                name=variant.name,
                difference=variant.difference,
                stages=len(mine),
                new_stages=len(fresh),
                left=len(fresh - there),
                alias_of=variant.alias_of,
            )
        )
    return tuple(found)
