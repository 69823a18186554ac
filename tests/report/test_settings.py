"""Settings in which chains differ, each as one value of one kind."""

from __future__ import annotations

import pytest
from report.synthetic_study import Made

from pmd_ray.report.settings import difference_text, differing, one_value


def test_only_what_differs_is_a_column(made: Made) -> None:
    table = differing(made.record.study)
    assert list(table) == [(name, "") for name in ("baseline", "no_mgfd", "fixed_10", "direct")]
    assert list(table["baseline", ""]) == ["layers", "mask.rate", "loss.beta"]
    assert table["baseline", ""]["layers"] == "12,12,6,3" and table["direct", ""]["layers"] == "12,3"
    assert [row["mask.rate"] for row in table.values()] == ["0.2,0.1,0", "0", "0.1", "0"]
    assert {type(row["loss.beta"]) for row in table.values()} == {float}


@pytest.mark.parametrize(
    ("value", "one"), [([9, 6, 3], "9,6,3"), (2, 2.0), (True, True), (None, None), ("a", "a"), ([], ""), ({}, "{}")]
)
def test_values_as_one(value: object, one: object) -> None:
    assert one_value(value) == one and type(one_value(value)) is type(one)


def test_a_difference_as_its_file_has_it() -> None:
    assert difference_text({"loss.beta": 0.0, "layers": [12, 3], "controls": False, "x": None}) == (
        "loss.beta: 0, layers: [12, 3], controls: false, x: none"
    )
