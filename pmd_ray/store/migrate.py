"""Brings what older versions left into a store of this format.

Format 0 is what `pmd distill --out DIR` leaves: a folder for each grade with its result, model and ranks. Its finished
grades become artifacts under their stage keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pmd_ray.spec.attempt import Provenance
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import GradeResult
from pmd_ray.store.layout import FORMAT, KEY, MARKER, Unreadable, read_object
from pmd_ray.store.local_folder import LocalFolder
from pmd_ray.store.location import marker_format
from pmd_ray.store.medium import reading
from pmd_ray.store.store import Store

RESULT = "result.json"
RESULTS = "results.json"
CARD = "model/pmd.json"
NEEDED = (RESULT, CARD, "grade.yaml", "valid_ranks.parquet", "test_ranks.parquet")
"""What a finished grade of format 0 holds, beside its model's weights."""
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class OldGrade:
    """A folder of format 0 with a result in it."""

    name: str
    folder: Path
    result: GradeResult | None
    problem: str | None
    """Why it cannot be an artifact."""


@dataclass(frozen=True, kw_only=True)
class Migrated:
    """What came of one grade."""

    name: str
    key: str
    state: str
    """`copied`, `stored already`, or what is wrong with it."""
    size: int = 0
    """Bytes of its artifact."""


def format_of(folder: Path) -> int | None:
    """A local folder's format: 0 for a run of `pmd distill`, None for anything else.

    Raises:
        UserError: a newer one, or a marker that is garbage.
    """
    medium = LocalFolder(folder)
    marker = medium.read(MARKER)
    if marker is not None:
        return marker_format(marker, medium)
    return 0 if (folder / RESULTS).is_file() or old_grades(folder) else None


def old_grades(folder: Path) -> list[OldGrade]:
    """The grades in a run of `pmd distill`, by name."""
    with reading(str(folder)):
        places = sorted(place for place in folder.iterdir() if (place / RESULT).is_file())
    return [_old_grade(place) for place in places if not place.name.startswith(".")]


def some_grades(folder: Path) -> list[OldGrade]:
    """The same, where there must be one.

    Raises:
        UserError: there is none.
    """
    grades = old_grades(folder) if folder.is_dir() else []
    if not grades:
        raise UserError(f"{folder} holds no finished grade ({RESULT} in a folder); give the --out of a pmd distill")
    return grades


def migrate_run(folder: Path, store: Store) -> list[Migrated]:
    """Copy a run's finished grades into a store, and register them as a study, so that `gc` keeps them.

    Raises:
        UserError: the folder is no run.
        StorageError: one of the two refuses.
    """
    grades = some_grades(folder)
    keys = [grade.result.key for grade in grades if grade.result and not grade.problem]
    if keys:
        record = {"kind": "distill", "from": str(folder.absolute()), "keys": keys}
        store.register(f"distill {folder.absolute().name} {keys[-1][:8]}", json.dumps(record, indent=2))
    known = _object(folder / RESULTS) if (folder / RESULTS).is_file() else {}
    return [_migrated(grade, store, known) for grade in grades]


def upgrade(folder: Path) -> list[Migrated]:
    """Make a store of an older format one of this format, where it lies; a run of `pmd distill` stays usable as such.

    Raises:
        UserError: it is none, or a newer one.
        StorageError: the disk refuses; what was upgraded stays so, and the same command goes on.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give a store, or the --out of a pmd distill")
    match format_of(folder):
        case None:
            raise UserError(f"{folder} is neither a store nor a run of pmd distill (no {MARKER}, no {RESULTS})")
        case 0:
            LocalFolder(folder).write(MARKER, json.dumps({"format": FORMAT}).encode())
            return migrate_run(folder, Store.open(folder))
        case _:
            # Also what a killed upgrade left behind.
            return migrate_run(folder, Store.open(folder)) if old_grades(folder) else []


def _old_grade(folder: Path) -> OldGrade:
    lacking = [name for name in NEEDED if not (folder / name).is_file()]
    try:
        with reading(str(folder / RESULT)):
            result = GradeResult.model_validate_json((folder / RESULT).read_bytes())
    except ValidationError as error:
        garbage = f"{folder / RESULT} is not readable ({error.error_count()} errors)"
        return OldGrade(name=folder.name, folder=folder, result=None, problem=garbage)
    problem = f"unfinished: {', '.join(lacking)} missing" if lacking else None
    if not KEY.fullmatch(result.key):
        problem = f"{folder / RESULT} names no stage key ({result.key[:80]!r})"
    return OldGrade(name=folder.name, folder=folder, result=result, problem=problem)


def _migrated(grade: OldGrade, store: Store, known: dict[str, Any]) -> Migrated:
    result = grade.result
    if result is None or grade.problem:
        return Migrated(name=grade.name, key=result.key if result else "", state=grade.problem or UNKNOWN)
    with store.lease(result.key):
        there = store.manifest(result.key)
        manifest = there or store.artifacts.publish(
            result.key,
            grade.folder,
            provenance=_provenance(grade.folder, known),
            seconds=result.seconds,
            cpu_seconds=result.cpu_seconds,
            keep=True,
        )
    state = "stored already" if there else "copied"
    return Migrated(name=grade.name, key=result.key, state=state, size=manifest.size)


def _provenance(folder: Path, known: dict[str, Any]) -> Provenance:
    """What a run says of itself: versions, and what it worked on; commit and machine it did not write down.

    Its summary is there once the chain is finished; a grade's card always.
    """
    card = _object(folder / CARD)
    named = known.get("versions")
    versions = {str(name): str(found) for name, found in named.items()} if isinstance(named, dict) else {}
    encoder = card.get("encoder")
    told = {
        "dataset": known.get("dataset") or card.get("dataset"),
        "dataset_fingerprint": known.get("dataset_fingerprint") or card.get("dataset_fingerprint"),
        "encoder": encoder.get("name") if isinstance(encoder, dict) else known.get("encoder"),
        "python": versions.pop("python", None),
    }
    return Provenance(
        package=versions.pop("pmd-ray", UNKNOWN),
        versions=versions,
        **{name: str(value) for name, value in told.items() if value},
    )


def _object(path: Path) -> dict[str, Any]:
    with reading(str(path)):
        data = path.read_bytes()
    try:
        return read_object(data, str(path))
    except Unreadable as error:
        raise UserError(f"{error}; repair or remove it") from None
