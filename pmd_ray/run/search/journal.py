"""The trials of a search as an Optuna journal file, for optuna-dashboard; a copy, never read back."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from pmd_ray.run.search.rebuilt import study_of
from pmd_ray.spec.disk import storing
from pmd_ray.spec.search_record import SearchRecord


def write_journal(record: SearchRecord, path: Path) -> list[str]:
    """Write one Optuna study for each round; an older file at that place is replaced.

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
                study.add_trials(rebuilt.get_trials(deepcopy=False))
                names.append(study.study_name)
            aside.replace(path)
        finally:
            for left in (aside, aside.with_name(f"{aside.name}.lock")):
                left.unlink(missing_ok=True)
    return names
