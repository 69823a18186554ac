"""The record in a search's folder, read back."""

from __future__ import annotations

from pathlib import Path

from pmd_ray.spec.record_file import read_record_file
from pmd_ray.spec.search_record import SearchRecord

RECORD = "search.json"
CONFIRM = "confirm"
"""The folder in it of the study that trains the best again."""


def is_search(out: Path) -> bool:
    """Whether a folder is that of a search."""
    return (out / RECORD).is_file()


def read_search(out: Path) -> SearchRecord:
    """The record of a search's folder; its trials as they were when the last run ended (the store has them all).

    Raises:
        UserError: there is none, or it cannot be read.
    """
    return read_record_file(out / RECORD, SearchRecord, noun="search", verb="search", kept="trials")
