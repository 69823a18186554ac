"""The record in a study's folder, read back."""

from __future__ import annotations

from pathlib import Path

from pmd_ray.spec.record_file import read_record_file
from pmd_ray.spec.study_record import StudyRecord

RECORD = "study.json"


def read_record(out: Path) -> StudyRecord:
    """The record of a study's folder.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    return read_record_file(out / RECORD, StudyRecord, noun="study", verb="ablate", kept="stages")
