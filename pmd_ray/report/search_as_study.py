"""A search's trials as variants of a study: an id of one of their stages leads to its card as that of a study does."""

from __future__ import annotations

from collections.abc import Iterator

from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.search_chain import chain_of
from pmd_ray.spec.search_record import SearchRecord
from pmd_ray.spec.study import BASELINE, ArmConfig, StudyConfig, VariantConfig
from pmd_ray.spec.study_record import RunRecord, StudyRecord


def search_as_study(record: SearchRecord) -> StudyRecord:
    """One variant for each trial, `trial-8`, with the search's one seed; a chain that cannot be built any more is none.

    It is for looking things up: nobody runs it.
    """
    search = record.search
    variants = tuple(_variants(record))
    known = {variant.name for variant in variants}
    runs = tuple(
        RunRecord(variant=name, arm="", seed=search.seed, stages=trial.stages)
        for trial in record.trials
        if (name := f"trial-{trial.number}") in known
    )
    return StudyRecord(
        study=StudyConfig(name=f"search {search.name}"[:80], seeds=(search.seed,), variants=variants),
        runs=runs,
        keys=tuple(dict.fromkeys(use.key for run in runs for use in run.stages)),
        trials=True,
        **record.header,
    )


def _variants(record: SearchRecord) -> Iterator[VariantConfig]:
    for trial in record.trials:
        try:
            chain = chain_of(record.search, trial.settings)
        except SpecError:
            continue
        yield VariantConfig(
            name=f"trial-{trial.number}", parent=BASELINE, difference=trial.settings, arms=(ArmConfig(chain=chain),)
        )
