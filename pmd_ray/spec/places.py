"""Folders that a run may use besides its output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Where tokens and data lie."""

    cache: Path | None = None
    """Token tables by fingerprint; None keeps them in memory."""
    data_home: Path | None = None
    """Fetched datasets; None is the default place."""
