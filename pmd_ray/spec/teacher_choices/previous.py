"""The grade before (PMD, section 3.3: progressive distillation)."""

from __future__ import annotations

from collections.abc import Sequence


def choose(position: int, has_teacher: Sequence[bool]) -> int | None:
    """The grade just before, or None for the first."""
    return position - 1 if position else None
