"""How a study or a search was started: the same fields in both records, whoever wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pmd_ray.spec.search import SearchConfig, SpaceConfig
from pmd_ray.spec.search_record import SearchRecord, TrialRecord
from pmd_ray.spec.study import StudyConfig
from pmd_ray.spec.study_record import RunHeader, StudyRecord

HEADER: dict[str, Any] = {
    "file": "/home/me/small.yaml",
    "overrides": ["seed=3"],
    "storage": "runs/store",
    "device": "cpu",
    "threads": 2,
    "workers": "2:8",
    "gpus": 0.5,
    "slots": 3,
    "home": "/data",
    "dataset": {
        "name": "tiny",
        "source": "tiny",
        "fingerprint": "f" * 64,
        "entities": 9,
        "relations": 2,
        "train": 20,
        "valid": 4,
        "test": 4,
    },
    "encoders": {"scratch": "e" * 64},
    "created": "2026-11-22T12:00:00+00:00",
    "command": "pmd search small.yaml",
}
STUDY = StudyConfig(name="small", seeds=(0,), variants=())
SEARCH = SearchConfig(name="small", drafts=({"layers": [2, 1]},), space=SpaceConfig())
TRIAL = {"number": 0, "round": "chain", "origin": "sampled", "layers": [2, 1], "mask_rates": [0.0], "stages": []}
"""As it was written before trials were asked again."""


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (StudyRecord, {"study": STUDY.model_dump(mode="json"), "runs": [], "keys": []}),
        (SearchRecord, {"search": SEARCH.model_dump(mode="json"), "at_once": 2, "trials": [TRIAL], "stopped": None}),
    ],
)
def test_records_are_read_in_whatever_order_they_were_written(
    kind: type[StudyRecord | SearchRecord], own: dict[str, Any]
) -> None:
    text = {"format": 1, **own, **HEADER}
    record = kind.model_validate_json(json.dumps(text))
    assert record == kind.model_validate_json(json.dumps(dict(reversed(text.items()))))
    assert set(text) <= set(json.loads(record.model_dump_json()))
    assert RunHeader(**record.header).model_dump(mode="json") == HEADER
    assert kind.model_validate_json(record.model_dump_json()) == record


def test_a_trial_of_an_earlier_version_was_never_asked_again() -> None:
    trial = TrialRecord.model_validate(TRIAL)
    assert (trial.failure, trial.earlier) == (None, ())
