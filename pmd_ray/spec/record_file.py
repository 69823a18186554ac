"""Record files of a run's folder, read back: of a study or a search, by the same rules and in the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pmd_ray.spec.errors import UserError

Record = TypeVar("Record", bound=BaseModel)


def read_record_file(path: Path, model: type[Record], *, noun: str, verb: str, kept: str) -> Record:
    """The record that a file holds.

    Args:
        path: In the run's folder.
        model: What is written down there.
        noun: What such a folder holds: "study", "search".
        verb: The command that starts one.
        kept: What the storage keeps of it, were the record lost.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path.parent} holds no {noun} ({path.name} is missing); "
            f"start one with pmd {verb} FILE --out {path.parent}"
        ) from None
    except (OSError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} cannot be read ({reason}); remove it and run the {noun} again: the storage keeps its {kept}"
        ) from None
