"""The record in a study's folder, read back."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from pmd_ray.spec.errors import UserError
from pmd_ray.spec.study_record import StudyRecord

RECORD = "study.json"


def read_record(out: Path) -> StudyRecord:
    """The record of a study's folder.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = out / RECORD
    try:
        return StudyRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{out} holds no study ({RECORD} is missing); start one with pmd ablate FILE --out {out}"
        ) from None
    except (OSError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} cannot be read ({reason}); remove it and run the study again: the storage keeps its stages"
        ) from None
