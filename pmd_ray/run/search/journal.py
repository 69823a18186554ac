"""The trials of a search as an Optuna journal file, for optuna-dashboard; a copy, never read back."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, create_trial

from pmd_ray.run.search.rebuilt import NUMBER, ending, study_of
from pmd_ray.spec.disk import new_folders, storing
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_record import SearchRecord, TrialRecord

FIRST = b'{"op_code"'
"""How a journal begins."""


def check_journal(path: Path) -> None:
    """Try the place of a journal, before anything is trained.

    Raises:
        UserError: a file that is no journal lies there, and would be lost.
        StorageError: nothing can be written there.
    """
    with storing(path), new_folders(path.parent):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    if path.is_file() and path.stat().st_size and not _begins_as_journal(path):
        raise UserError(f"--journal {path}: holds something that is no Optuna journal; choose another file")


def write_journal(record: SearchRecord, path: Path) -> list[str]:
    """Write one Optuna study for each round; an older file at that place is replaced.

    Every trial is there, with its number, origin and settings as user attributes; one outside the space has no
    parameters. Points that were drawn a second time are there too, as the sampler knows them.

    Returns:
        The studies' names, such as `quickstart layers-2`.

    Raises:
        StorageError: the disk refuses; an older file stays.
    """
    aside = path.with_name(f".{path.name}.aside")
    names = []
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        try:
            storage = JournalStorage(JournalFileBackend(str(aside)))
            for name in dict.fromkeys(trial.round for trial in record.trials):
                rebuilt = study_of(record.search.search, record.search.seed, record.in_round(name))
                study = optuna.create_study(
                    storage=storage, study_name=f"{record.search.name} {name}", directions=rebuilt.directions
                )
                study.add_trials(_told(record.search, record.in_round(name), rebuilt.get_trials()))
                names.append(study.study_name)
            aside.replace(path)
        finally:
            for left in (aside, aside.with_name(f"{aside.name}.lock")):
                left.unlink(missing_ok=True)
    return names


def _told(search: SearchConfig, records: Sequence[TrialRecord], trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Optuna's trials with what we know of them, then those that Optuna was not told of."""
    by_number = {record.number: record for record in records}
    for trial in trials:
        if NUMBER in trial.user_attrs:
            trial.user_attrs |= _attributes(by_number[trial.user_attrs[NUMBER]])
    outside = [record for record in records if not record.inside]
    return [*trials, *(_outside(search, record) for record in outside)]


def _outside(search: SearchConfig, record: TrialRecord) -> FrozenTrial:
    end = ending(search.search, record)
    return create_trial(
        state=end.state,
        values=end.values,
        intermediate_values=dict(end.intermediate or {}),
        user_attrs=_attributes(record),
    )


def _attributes(record: TrialRecord) -> dict[str, object]:
    about = {"origin": record.origin, "settings": record.settings, "reason": record.reason}
    return {NUMBER: record.number, **{name: value for name, value in about.items() if value}}


def _begins_as_journal(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(FIRST)) == FIRST
