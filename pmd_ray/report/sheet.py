"""A table ready to be written: names of columns and rows of plain cells, and how figures are worded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

Cell = str | int | float | None
"""None is an empty cell."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One table; no arithmetic happens after it is made."""

    name: str
    """The file's name without its ending."""
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    texts: frozenset[str] = frozenset()
    """Columns of words: set left; every other one is a column of figures, set right."""

    def column(self, name: str) -> list[Cell]:
        """The cells of one column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def objects(self) -> list[dict[str, Cell]]:
        """Rows by column, for JSON: it has no infinities, so they are None."""
        return [dict(zip(self.columns, map(_finite, row), strict=True)) for row in self.rows]


def sheet(
    name: str,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Cell]],
    *,
    texts: Sequence[str] = (),
    optional: Sequence[str] = (),
    caption: str = "",
) -> Sheet:
    """A sheet of rows that name their cells; a cell that a row lacks is empty.

    Args:
        columns: All of them, in order.
        optional: Columns that are left out where no row has anything in them.

    Raises:
        ValueError: A row has a cell without a column.
    """
    found = list(rows)
    if unknown := sorted({key for row in found for key in row} - set(columns)):
        raise ValueError(f"{name}: no column for {', '.join(unknown)}")
    kept = [key for key in columns if key not in optional or any(row.get(key) not in (None, "") for row in found)]
    cells = tuple(tuple(row.get(key) for key in kept) for row in found)
    return Sheet(name=name, columns=tuple(kept), rows=cells, caption=caption, texts=frozenset(texts))


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not isfinite(cell) else cell


def number(value: float | None, digits: int = 3) -> str:
    """A figure with so many decimals, a real minus sign; empty for None."""
    return "" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A difference: its sign is always written, but for what rounds to nothing."""
    if value is None:
        return ""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0.0 else text.replace("-", "−")


def interval(low: float | None, high: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """`[0.565, 0.577]`, or empty where there is none; an open end is an infinity."""
    if low is None or high is None:
        return ""
    worded = signed if sign else number
    return f"[{worded(low, digits)}, {worded(high, digits)}]".replace("inf", "∞")


def with_spread(mean: float | None, sd: float | None, digits: int = 3) -> str:
    """`0.571 ± 0.003`; the mean alone where there is no spread."""
    if mean is None:
        return ""
    return number(mean, digits) if sd is None else f"{number(mean, digits)} ± {number(sd, digits)}"


def p_value(p: float | None) -> str:
    """Two digits that count, three decimals at most."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def millions(count: int | None) -> str:
    """`109.5 M`; under a million in thousands."""
    if count is None:
        return ""
    return f"{count / 1e6:.1f} M" if count >= 1_000_000 else f"{count / 1e3:.0f} k"


def size(count: float | None) -> str:
    """Bytes as `1.2 GB`, powers of 1000."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
