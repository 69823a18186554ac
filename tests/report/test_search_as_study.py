"""A search's trials as variants of a study."""

from __future__ import annotations

from report.search_made import make_record

from pmd_ray.report.search_as_study import search_as_study


def test_it_was_started_as_the_search_was() -> None:
    record = make_record(trials=4).model_copy(update={"workers": "2:8", "home": "/data", "overrides": ("seed=0",)})
    study = search_as_study(record)
    assert study.header == record.header
    assert [run.stages for run in study.runs] == [trial.stages for trial in record.trials]
