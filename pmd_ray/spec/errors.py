"""Errors whose message is meant for the person who typed the command: the rule, the value, the way out.

Exit codes of the command line: 1 a stage failed, 2 what the user gave is wrong (a full disk too), 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

SHOWN_AT_MOST = 50
"""How many errors of one source are printed; the rest are counted."""


class PmdError(Exception):
    """Base of every error that the command line prints without a traceback."""

    exit_code = 1


class UserError(PmdError):
    """What the user gave is wrong; nothing was written."""

    exit_code = 2


class ListedError(UserError):
    """All errors of one source (a file, a folder, a command line) at once."""

    noun = "error"

    def __init__(self, source: str | Path, errors: Iterable[str]) -> None:
        self.source = str(source)
        self.errors = list(errors)
        super().__init__(self.source, self.errors)

    def __str__(self) -> str:
        count = len(self.errors)
        lines = [f"{self.source}: {count} {self.noun}{'s' if count != 1 else ''}"]
        lines += [f"  {error}" for error in self.errors[:SHOWN_AT_MOST]]
        if count > SHOWN_AT_MOST:
            lines.append(f"  ... and {count - SHOWN_AT_MOST} more")
        return "\n".join(lines)


class SpecError(ListedError):
    """A configuration that breaks a rule."""


class DataError(ListedError):
    """A knowledge graph that breaks a rule of its layout; each error names file and line."""


class EncoderError(UserError):
    """A text encoder that cannot be loaded, or does not fit."""


class ModelError(UserError):
    """A trained model's folder that cannot be read, or does not fit what is asked of it."""


class StorageError(PmdError):
    """Results could not be written (disk full, no permission); earlier results are whole."""

    exit_code = 2


class NotFiniteError(PmdError):
    """Training left the finite numbers; the last good checkpoint is kept."""


class WorkerError(PmdError):
    """A training worker failed more often than the run allows."""


def nearest(key: str, legal: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the legal key nearest to `key`, or an empty string."""
    near = get_close_matches(key, list(legal), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
