"""A chain that asks for layers that are not there is refused before anything is trained."""

from __future__ import annotations

import pytest

from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.errors import SpecError
from pmd_ray.train.workshop import check_depths


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["layers=[7]"], ["grades.teacher.layers: the encoder", "has 6 layers, got 7"]),
        (
            ["layers=[6,3]", "grades.3.init.layer_map=[1,3,6]"],
            ["grades.3.init.layer_map", "layers 0 to 5", "[1, 3, 6]"],
        ),
        (
            ["layers=[6,4,2]", "grades.2.init.source=teacher", "grades.2.init.layer_map=[1,4]"],
            ["grades.2.init.layer_map: its teacher '4' has layers 0 to 3, got [1, 4]"],
        ),
    ],
)
def test_layers_that_are_not_there(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        check_depths(load_chain("pmd_code", ["encoder=minilm", *overrides]), 6)
    assert all(words in str(refused.value) for words in said)


def test_layers_that_are_there() -> None:
    check_depths(load_chain("pmd_warm", ["layers=[6,6,3,2]", "grades.3.init.layer_map=[0,2,5]"]), 6)
