"""One measured case: what was done, what it cost, and beside what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

KEYS = ("name", "data", "batch", "ours_cpu_s", "plain_cpu_s", "ratio", "limit_cpu_s", "over_limit")
"""Of every line of JSON, in this order; further ones follow them."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """CPU seconds of this project, of the released code's algorithm and of the limit, for the same work."""

    name: str
    data: str
    batch: int | None
    """Queries or texts at once; None where nothing is counted so."""
    ours_cpu_s: float
    plain_cpu_s: float | None = None
    """None where the released code has nothing of the kind."""
    limit_cpu_s: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else is worth knowing: plain values."""

    @property
    def ratio(self) -> float | None:
        """How many times the released code's algorithm costs."""
        return self.plain_cpu_s / self.ours_cpu_s if self.plain_cpu_s is not None and self.ours_cpu_s else None

    @property
    def over_limit(self) -> float | None:
        """How many times the limit we cost."""
        return self.ours_cpu_s / self.limit_cpu_s if self.limit_cpu_s else None

    def line(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**{key: _rounded(getattr(self, key)) for key in KEYS}, **_rounded(dict(self.more))}


def _rounded(value: Any) -> Any:
    """Five digits are more than any timing holds."""
    match value:
        case float():
            return float(f"{value:.5g}")
        case dict():
            return {key: _rounded(one) for key, one in value.items()}
        case _:
            return value


def shares(phases: Mapping[str, float]) -> str:
    """`backward 48%, student forward 31%, ...`, the largest first; what is below 0.5% is left out."""
    total = sum(phases.values())
    parts = sorted(phases.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {part / total:.0%}" for name, part in parts if total and part >= 0.005 * total)


def rows(cases: Sequence[Case]) -> list[list[str]]:
    """Cells of a table with the columns of `KEYS`."""
    return [[_cell(getattr(case, key)) for key in KEYS] for case in cases]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
