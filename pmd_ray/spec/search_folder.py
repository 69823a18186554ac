"""The record in a search's folder, read back."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search_record import SearchRecord

RECORD = "search.json"


def is_search(out: Path) -> bool:
    """Whether a folder is that of a search."""
    return (out / RECORD).is_file()


def read_search(out: Path) -> SearchRecord:
    """The record of a search's folder; its trials as they were when the last run ended (the store has them all).

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = out / RECORD
    try:
        return SearchRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{out} holds no search ({RECORD} is missing); start one with pmd search FILE --out {out}"
        ) from None
    except (OSError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} cannot be read ({reason}); remove it and run the search again: the storage keeps its trials"
        ) from None
