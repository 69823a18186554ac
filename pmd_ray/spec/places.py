"""Folders that a run may use besides its output."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Where tokens and data lie."""

    cache: Path | None = None
    """Token tables by fingerprint; None keeps them in memory."""
    data_home: Path | None = None
    """Fetched datasets; None is the default place."""
    graphs: Path | None = None
    """Graphs by fingerprint, each in a folder whose name begins with it; None is the default place."""
    storage: str | None = field(default=None, repr=False)
    """Where graphs by fingerprint are looked for when a machine has none; None is nowhere."""
