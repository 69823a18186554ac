"""What all verbs print with: lines, tables and JSON, plain wherever there is no terminal.

Results go to standard output; with `--json` one object goes there and all else to standard error, where progress,
warnings and errors always go. Texts from graphs are data: never markup, and control characters are shown, not obeyed.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Cell = str | int | None
"""An int is written with thousands separators, None as a dash."""

NUMBER = re.compile(r"[-+±~]?[\d.,]+( ?(%|s|min|h|[KMG]?B))?|-|nan|")
# C0 but tab and newline, DEL, C1, and the marks that reverse the direction of what follows.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def print_json(value: Any) -> None:
    """Print one JSON object on standard output: ASCII, so that no terminal's encoding matters; NaN is refused."""
    print(json.dumps(value, indent=2, allow_nan=False))


def say(text: str, *, json: bool = False) -> None:
    """Print a result line; to standard error where `json` says that standard output belongs to an object."""
    print(visible(text), file=_stream(json))


def warn(text: str) -> None:
    """Print a warning on standard error."""
    complain(text, label="warning")


def complain(text: str, *, label: str = "error") -> None:
    """Print a message on standard error, in colour on a terminal that wants it."""
    if not sys.stderr.isatty():
        print(f"{label}: {visible(text)}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.text import Text

    style = "bold yellow" if label == "warning" else "bold red"
    message = Text.assemble((f"{label}:", style), " ", visible(text))
    Console(stderr=True, highlight=False, soft_wrap=True).print(message)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, title: str | None = None, json: bool = False
) -> None:
    """Print a table: drawn and fitted to the width of a terminal; elsewhere aligned lines that are never cut.

    Columns of numbers are aligned to the right. With `json` it goes to standard error.
    """
    from rich import box
    from rich.console import Console

    stream = _stream(json)
    console = Console(file=stream, highlight=False)
    cells = [[visible(_written(cell)) for cell in row] for row in rows]
    if console.is_terminal:
        table = _table(columns, cells, drawn=box.SIMPLE_HEAD)
        table.title, table.title_justify = title, "left"
        console.print(table)
        return
    buffer = io.StringIO()
    Console(file=buffer, width=1_000_000, color_system=None).print(_table(columns, cells, drawn=None))
    lines = [*([title] if title else []), *buffer.getvalue().splitlines()]
    print("\n".join(line.rstrip() for line in lines), file=stream)


def visible(text: str) -> str:
    """The text with control characters written out, so that no name of a graph moves the cursor or hides a line."""
    return UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def _table(columns: Sequence[str], cells: list[list[str]], *, drawn: Any) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=drawn, pad_edge=False, padding=(0, 2, 0, 0) if drawn is None else (0, 1))
    for number, column in enumerate(columns):
        numeric = bool(cells) and all(NUMBER.fullmatch(row[number]) for row in cells)
        # Text, not str: a heading or cell such as "[MASK]" is no markup.
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold", no_wrap=drawn is None)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _written(cell: Cell) -> str:
    return "-" if cell is None else f"{cell:,}" if isinstance(cell, int) else cell


def _stream(json: bool) -> IO[str]:
    return sys.stderr if json else sys.stdout
