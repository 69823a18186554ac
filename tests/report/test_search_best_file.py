"""best.yaml loads as the chain that was found, and whatever the record holds ends no comment."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from report.search_made import make_record

from pmd_ray.report.best_file import UNCONFIRMED, best_trial, best_yaml, comment
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search_chain import chain_of

RECORD = make_record()


@pytest.mark.parametrize("target", [None, 3, 2])
def test_it_loads_as_the_trials_chain_with_the_confirmations_settings(tmp_path: Path, target: int | None) -> None:
    path = tmp_path / "best.yaml"
    path.write_text(best_yaml(RECORD, target=target, confirmed_sentence=None), encoding="utf-8")
    trial = best_trial(RECORD, target=target)
    assert trial is not None and trial.layers[-1] == (target or 3)
    asked = {**trial.settings, "optimiser.schedule": "linear"}
    assert load_chain(str(path)) == chain_of(RECORD.search, asked)
    assert load_chain(str(path)).grades[-1].optimiser.schedule == "linear"


def test_the_evidence_stands_in_comments() -> None:
    text = best_yaml(RECORD, target=2, confirmed_sentence="On test, best is better.")
    comments = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    for words in (
        "search made: trial 1 of 30 (24 done), default",
        "pmd search made.yaml",
        "Validation mrr: 0.3221 ± 0.0080, rank 1 of 11 (2 layers)",
        "Within one standard error of it: trials 3, 15.",
        "Confirmation: On test, best is better.",
        "Stages of all trials: 89, of them distinct: 62.",
        "teacher: " + RECORD.trials[1].stages[0].key,
        "2024-05-06",
    ):
        assert words in comments
    assert UNCONFIRMED in best_yaml(RECORD, target=2, confirmed_sentence=None)


def test_without_a_trial_that_is_done_there_is_none() -> None:
    with pytest.raises(UserError, match="no trial whose last student has 5 layers is done"):
        best_yaml(RECORD, target=5, confirmed_sentence=None)


@given(st.text(max_size=300))
def test_no_text_ends_a_comment(text: str) -> None:
    assert yaml.safe_load(comment(text) + "a: 1\n") == {"a": 1}
