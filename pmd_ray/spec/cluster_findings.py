"""What a check of a cluster file found: errors, warnings, and safe ways into values of any type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any

SHOWN = 60
"""Characters of a value that a message repeats."""
MOST = 2**53
"""Whole numbers beyond it are none of any use here, and Python's floats cannot hold them."""
BOUNDED = Repr()
"""For values that YAML's aliases make deep, or larger than any memory: it looks at no more than is shown."""
BOUNDED.maxlevel = 3
BOUNDED.maxlist = BOUNDED.maxdict = BOUNDED.maxtuple = BOUNDED.maxset = 20
BOUNDED.maxstring = BOUNDED.maxlong = BOUNDED.maxother = 2 * SHOWN
PASSWORD = re.compile(r"(?<=://)[^/@:\s]*:[^@\s]*@")
"""Of an address, as in `s3://KEY:SECRET@bucket`; a secret key may hold slashes."""


@dataclass
class Findings:
    """Messages of the form `place: rule, got value; way out`, each once, in the order of finding."""

    errors: list[str] = field(default_factory=list)
    """What would fail, cost or expose."""
    warnings: list[str] = field(default_factory=list)
    """What may be meant."""

    def error(self, place: str, text: str) -> None:
        """Add an error."""
        _add(self.errors, place, text)

    def warn(self, place: str, text: str) -> None:
        """Add a warning."""
        _add(self.warnings, place, text)


def _add(lines: list[str], place: str, text: str) -> None:
    # Whatever is wrong with an address: its password is not repeated.
    line = PASSWORD.sub("", f"{place}: {text}" if place else text)
    line = line.encode("utf-8", "backslashreplace").decode("utf-8")  # YAML can write what no terminal can show
    if line not in lines:
        lines.append(line)


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one: a wrong type is told once, where types are checked."""
    return {str(key): inner for key, inner in value.items()} if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def texts(value: Any) -> list[str]:
    """The texts of a list."""
    return [one for one in listed(value) if isinstance(one, str)]


def whole(value: Any) -> int | None:
    """The value if it is a whole number of a size that may be meant, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST else None


def text(value: Any) -> str:
    """The value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def shown(value: Any) -> str:
    """A value as messages repeat it."""
    try:
        # A text by its beginning: reprlib shows its ends.
        written = repr(value[: SHOWN + 1]) if isinstance(value, str) else BOUNDED.repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"
    return written if len(written) <= SHOWN else f"{written[: SHOWN - 3]}..."
