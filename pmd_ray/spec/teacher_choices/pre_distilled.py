"""The first distilled grade teaches every later one (PMD, Table 4 read as: without progressive distillation)."""

from __future__ import annotations

from collections.abc import Sequence


def choose(position: int, has_teacher: Sequence[bool]) -> int | None:
    """The first grade before this one that has a teacher itself; the first grade of all where there is none."""
    if not position:
        return None
    return next((place for place in range(position) if has_teacher[place]), 0)
