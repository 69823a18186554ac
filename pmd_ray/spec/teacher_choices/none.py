"""No teacher: the grade learns from labels alone (SimKGC; every baseline)."""

from __future__ import annotations

from collections.abc import Sequence


def choose(position: int, has_teacher: Sequence[bool]) -> int | None:
    """None, always."""
    return None
