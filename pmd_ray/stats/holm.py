"""Holm's correction: the chance of any false claim among the comparisons of one question stays at the level."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values in the order given, valid however the tests depend on each other (Holm 1979).

    A None (no test) stays None and does not count: nothing can be claimed from it.

    Raises:
        ValueError: A p-value outside [0, 1] or NaN.
    """
    there = [(p, place) for place, p in enumerate(p_values) if p is not None]
    if wrong := [p for p, _ in there if not 0.0 <= p <= 1.0]:
        raise ValueError(f"p-values lie in [0, 1], got {wrong[0]}")
    adjusted: list[float | None] = [None] * len(p_values)
    so_far = 0.0
    for rank, (p, place) in enumerate(sorted(there)):
        so_far = max(so_far, min(1.0, (len(there) - rank) * p))
        adjusted[place] = so_far
    return adjusted
