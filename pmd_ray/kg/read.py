"""Reads tab-separated files: columns with line numbers, and every problem of every line at once."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Everything but tab and newline that a reader may take for a line end or that no text needs: C0, DEL, C1 (with
# U+0085), the line and paragraph separators, and the byte order mark. Joiners and direction marks (Cf) are text.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_ANY_BREAK = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")


class Rule(StrEnum):
    """What a line or a file breaks."""

    MISSING = "missing"
    ENCODING = "encoding"
    CONTROL = "control"
    COLUMNS = "columns"
    EMPTY = "empty"
    SPACE = "space"
    DUPLICATE_ID = "duplicate id"
    UNKNOWN_ID = "unknown id"
    DUPLICATE_TRIPLE = "duplicate triple"
    LEAK = "leak"


@dataclass(frozen=True)
class Problem:
    """One broken rule at one place."""

    file: str
    line: int
    """Counted from 1; 0 is the file as a whole."""
    rule: Rule
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of one file, each row with the line that it was read from."""

    file: str
    columns: tuple[tuple[str, ...], ...]
    lines: NDArray[np.int64]
    """[rows] line numbers counted from 1; 0 where the source has no lines (JSON)."""
    problems: tuple[Problem, ...] = ()
    broken_ids: frozenset[str] = field(default=frozenset())
    """First cells of lines with a wrong column count: defined all the same, so that triples do not complain again."""
    readable: bool = True
    """False where the file is missing: what refers to its ids is then not judged."""

    def __len__(self) -> int:
        return len(self.lines)

    def keep(self, kept: NDArray[np.bool_]) -> Table:
        """The rows where `kept` ([rows] of bool) is true."""
        chosen = np.flatnonzero(kept).tolist()
        columns = tuple(tuple([column[row] for row in chosen]) for column in self.columns)
        return Table(
            file=self.file,
            columns=columns,
            lines=self.lines[kept],
            problems=self.problems,
            broken_ids=self.broken_ids,
            readable=self.readable,
        )


def read_table(folder: Path, file: str, *, header: tuple[str, ...], foreign: bool = False) -> Table:
    """Read `folder/file`, whose columns are named in `header` (the file itself has no header line).

    `foreign` files are read as their own projects do: Windows line ends, blank lines and spaces around cells are
    dropped, control characters become spaces.
    """
    try:
        data = (folder / file).read_bytes()
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        text = f"{reason}; it holds {', '.join(header)}, separated by tabs"
        return _empty(file, header, problems=[Problem(file, 0, Rule.MISSING, text)], readable=False)
    problems: list[Problem] = []
    text = _decode(data, file, problems)
    if foreign:
        text = CONTROL.sub(" ", text.removeprefix("\ufeff").replace("\r\n", "\n"))
    else:
        text = _without_controls(text, file, problems)
    return _split(text, file, header=header, problems=problems, foreign=foreign)


def one_line(text: str) -> str:
    """The text with line breaks, tabs and control characters turned into single spaces, ends stripped."""
    return _ANY_BREAK.sub(" ", text).strip()


def _empty(file: str, header: tuple[str, ...], *, problems: list[Problem], readable: bool) -> Table:
    no_lines = np.zeros(0, dtype=np.int64)
    return Table(file=file, columns=((),) * len(header), lines=no_lines, problems=tuple(problems), readable=readable)


def _decode(data: bytes, file: str, problems: list[Problem]) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    lines: list[str] = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        try:
            lines.append(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            value = f"byte 0x{raw[error.start]:02x} at position {error.start + 1}"
            problems.append(Problem(file, number, Rule.ENCODING, f"not UTF-8: {value}; save the file as UTF-8"))
            lines.append(raw.decode("utf-8", errors="replace"))
    return "\n".join(lines)


def _without_controls(text: str, file: str, problems: list[Problem]) -> str:
    """Report control characters; take away those at line ends and file start, which would be reported twice."""
    if not CONTROL.search(text):
        return text
    if text.startswith("\ufeff"):
        problems.append(Problem(file, 1, Rule.CONTROL, "byte order mark (U+FEFF); save the file as UTF-8 without it"))
        text = text[1:]
    lines = text.split("\n")
    windows = [number for number, line in enumerate(lines, start=1) if line.endswith("\r")]
    if windows:
        advice = f"Windows line ends (CRLF) from here on, {len(windows):,} lines; turn them into LF"
        problems.append(Problem(file, windows[0], Rule.CONTROL, advice))
        lines = [line.removesuffix("\r") for line in lines]
    for number, line in enumerate(lines, start=1):
        if found := CONTROL.search(line):
            at = f"at position {found.start() + 1}"
            problems.append(
                Problem(file, number, Rule.CONTROL, f"control character {_named(found[0])} {at}; remove it")
            )
    return "\n".join(lines)


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


def _split(text: str, file: str, *, header: tuple[str, ...], problems: list[Problem], foreign: bool) -> Table:
    width = len(header)
    if text and not text.endswith("\n"):
        text += "\n"
    broken: frozenset[str] = frozenset()
    if _is_regular(text, width):
        cells = text.replace("\n", "\t").split("\t")[:-1]
        columns = tuple(tuple(cells[column::width]) for column in range(width))
        numbers = np.arange(1, len(columns[0]) + 1, dtype=np.int64)
    else:
        # Not splitlines(): it would also break at U+0085, U+2028 and others, and shift every line number after them.
        rows = [line.split("\t") for line in text.split("\n")[:-1]]
        wrong = [n for n, row in enumerate(rows) if len(row) != width and not (foreign and not "".join(row).strip())]
        problems += [_wrong_width(rows[n], file, n + 1, header) for n in wrong]
        broken = frozenset(rows[n][0].strip() for n in wrong)
        right = [n for n, row in enumerate(rows) if len(row) == width]
        columns = tuple(tuple(rows[n][column] for n in right) for column in range(width))
        numbers = np.array(right, dtype=np.int64) + 1
    if foreign:
        columns = tuple(tuple(map(str.strip, column)) for column in columns)
    return Table(file=file, columns=columns, lines=numbers, problems=tuple(problems), broken_ids=broken)


def _is_regular(text: str, width: int) -> bool:
    """Whether each line has `width` cells: told from the separators alone, ten times faster than line by line."""
    raw = np.frombuffer(text.encode(), dtype=np.uint8)
    separators = raw[(raw == ord("\t")) | (raw == ord("\n"))]
    line = np.array([ord("\t")] * (width - 1) + [ord("\n")], dtype=np.uint8)
    return len(separators) % width == 0 and bool((separators.reshape(-1, width) == line).all())


def _wrong_width(row: list[str], file: str, line: int, header: tuple[str, ...]) -> Problem:
    if row == [""]:
        return Problem(file, line, Rule.COLUMNS, "blank line; remove it")
    found = f"{len(row)} column{'s' if len(row) != 1 else ''}"
    text = f"{found} instead of {len(header)} ({', '.join(header)}, separated by tabs)"
    return Problem(file, line, Rule.COLUMNS, text)
