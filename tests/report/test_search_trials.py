"""Rounds of a search: the best, its rank, what cannot be told from it, and the default beside it."""

from __future__ import annotations

from typing import Any

import pytest
from report.search_made import make_record

from pmd_ray.report.search_trials import Round, default_of, params_of, rounds_of
from pmd_ray.spec.search_record import TrialRecord, TrialState


def trial(number: int, value: float | None, **given: Any) -> TrialRecord:
    known: dict[str, Any] = {"round": "layers-2", "origin": "sampled", "layers": (6, 2), "mask_rates": (0.0,)}
    state = TrialState.DONE if value is not None else TrialState.PRUNED
    return TrialRecord.model_validate(
        {"number": number, "value": value, "state": state, "stages": (), **known, **given}
    )


def of(*trials: TrialRecord) -> Round:
    return Round(name="layers-2", trials=trials, whole=True)


def test_the_best_is_the_earlier_one_of_two_equal_ones_and_pruned_ones_do_not_count() -> None:
    one = of(trial(0, None), trial(1, 0.5), trial(2, 0.6), trial(3, 0.6))
    assert [found.number for found in one.ranked] == [2, 3, 1]
    assert [one.rank(found) for found in one.ranked] == [1, 1, 3]


def test_those_within_one_standard_error_of_the_best_are_named() -> None:
    one = of(trial(0, 0.6, standard_error=0.01), trial(1, 0.5901), trial(2, 0.5899), trial(3, 0.595))
    assert [found.number for found in one.close()] == [3, 1]
    assert of(trial(0, 0.6), trial(1, 0.6)).close() == ()


def test_a_round_without_the_default_stands_beside_another_rounds() -> None:
    rounds = rounds_of(make_record())
    assert [one.name for one in rounds] == ["layers-3", "layers-2"] and rounds[0].title == "3 layers"
    found = [default_of(rounds, one) for one in rounds]
    assert [default.number for default in found if default] == [1, 1]
    assert rounds[0].default is None


def test_earlier_grades_of_a_beam_are_no_whole_chains() -> None:
    made = make_record(trials=0, space={"weights": {}}, search={"strategy": "grade"})
    short, whole = trial(0, 0.4, round="grade-1", layers=(6, 4)), trial(1, 0.3, round="grade-2", layers=(6, 4, 2))
    rounds = rounds_of(made.model_copy(update={"trials": (short, whole)}))
    assert [one.whole for one in rounds] == [False, True]


@pytest.mark.parametrize("drawn", ["beta", "beta|alpha=0.5"])
def test_a_parameter_goes_by_the_settings_own_name(drawn: str) -> None:
    assert params_of(trial(0, 0.5, params={drawn: 0.2})) == {"beta": 0.2}
