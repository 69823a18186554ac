"""The isolation view: each value of a scientific parameter with the best over all others."""

from __future__ import annotations

import pytest
from report.search_made import make_record

from pmd_ray.report.search_isolation import NOT_DRAWN, Isolated, isolated, isolation_sheet
from pmd_ray.report.search_trials import rounds_of, value_of

ROUNDS = rounds_of(make_record())


def rows(parameter: str, nuisance: tuple[str, ...] = ()) -> list[Isolated]:
    return [one for one in isolated(ROUNDS, nuisance) if (one.round, one.parameter) == ("2 layers", parameter)]


def test_each_value_has_its_best_and_together_they_are_all_trials() -> None:
    for parameter in ("layers", "mask.first", "alpha", "optimiser.lr"):
        trials = [trial for one in rows(parameter) for trial in one.trials]
        assert sorted(trial.number for trial in trials) == [trial.number for trial in ROUNDS[1].drawn]
        for one in rows(parameter):
            assert value_of(one.trials[0]) == max(map(value_of, one.trials))


def test_values_stand_in_their_own_order() -> None:
    assert [one.value for one in rows("layers")] == ["6-2", "6-4-2", "6-5-3-2"]
    steps = [one.value for one in rows("mask.first")]
    assert steps == sorted(steps, key=float) and set(steps) <= {"0", "0.1", "0.2", "0.3", "0.4"}
    assert rows("mask.ratio")[-1].value == NOT_DRAWN


def test_numbers_without_steps_are_binned_on_their_own_scale() -> None:
    labels = [one.value for one in rows("optimiser.lr") if one.value != NOT_DRAWN]
    assert labels[0] == "1e-05 to 2.66e-05"
    for one in rows("optimiser.lr"):
        if one.value != NOT_DRAWN:
            low, high = map(float, one.value.split(" to "))
            assert all(low * 0.99 <= trial.params["optimiser.lr"] <= high * 1.01 for trial in one.trials)


def test_nuisance_parameters_have_no_rows_of_their_own() -> None:
    assert rows("optimiser.lr", ("optimiser.lr",)) == [] and rows("alpha", ("optimiser.lr",))


def test_the_table_has_the_spread() -> None:
    sheet = isolation_sheet(rows("layers"))
    first = sheet.objects()[0]
    values = sorted(value_of(trial) for trial in rows("layers")[0].trials)
    assert first["best"] == values[-1] and first["lowest"] == values[0] and first["trials"] == len(values)
    middle = first["median"]
    assert isinstance(middle, float) and values[0] <= middle <= values[-1]
    assert middle == pytest.approx(sum(values[(len(values) - 1) // 2 : len(values) // 2 + 1]) / (2 - len(values) % 2))
