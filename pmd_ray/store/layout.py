"""Where things lie in a store, and how what lies there is read: by name, with garbage told from content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from pydantic import ValidationError

from pmd_ray.spec.attempt import Record
from pmd_ray.spec.errors import PmdError, UserError

FORMAT = 1
"""Raised when the layout changes its meaning; `migrate` brings older ones here."""
MARKER = "pmd-store.json"
MANIFEST = "manifest.json"
ARTIFACTS = "artifacts"
DATASETS = "datasets"
"""Graphs by fingerprint."""
ATTEMPTS = "attempts"
STUDIES = "studies"
LEASES = "leases"
WORK = "work"
ASIDE = "aside"
INCOMING = "incoming"
"""Copies under way from another file system."""

KEY = re.compile(r"[0-9a-f]{64}")
LONGEST = 200
"""Characters of a quoted name: file systems take 255 bytes, and a file written aside has a longer name."""

Warn = Callable[[str], None]
"""Told of what is wrong but stops nothing."""
R = TypeVar("R", bound=Record)


class Unreadable(PmdError):
    """A file of the store that is no record of ours: cut short, or written by something else."""

    exit_code = 2


def checked(key: str) -> str:
    """The key as given; ValueError where it is none: it becomes a path."""
    if not KEY.fullmatch(key):
        raise ValueError(f"a stage key has 64 hexadecimal digits, got {key!r}")
    return key


def quoted(name: str) -> str:
    """A study's name as a file name, on any file system.

    Raises:
        UserError: it is empty or too long.
    """
    text = quote(name, safe="", errors="surrogateescape")
    text = "%2E" + text[1:] if text.startswith(".") else text  # hidden files are not listed
    if not text or len(text) > LONGEST:
        raise UserError(f"a study's name has 1 to {LONGEST} bytes (fewer where they need quoting), got {name[:80]!r}")
    return text


def unquoted(text: str) -> str:
    """The name behind a file name."""
    return unquote(text, errors="surrogateescape")


def read_object(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in a file of the store.

    Raises:
        Unreadable: naming the file.
    """
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{where} is not readable ({len(data)} bytes: {error})") from None
    if not isinstance(value, dict):
        raise Unreadable(f"{where} is not readable (a JSON {type(value).__name__}, not an object)")
    return value


def read_record(kind: type[R], data: bytes, where: str) -> R:
    """A record of the store.

    Raises:
        Unreadable: naming the file and the fields.
    """
    value = read_object(data, where)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()[:3])
        raise Unreadable(f"{where} is not readable ({wrong})") from None
