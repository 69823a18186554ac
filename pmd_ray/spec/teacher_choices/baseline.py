"""The first grade, trained from labels alone, teaches everyone (PMD, Table 4: without progressive distillation)."""

from __future__ import annotations

from collections.abc import Sequence


def choose(position: int, has_teacher: Sequence[bool]) -> int | None:
    """The first grade without a teacher that stands before this one, or None."""
    return next((place for place in range(position) if not has_teacher[place]), None)
