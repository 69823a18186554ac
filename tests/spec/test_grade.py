"""Grades and their chain: names, layer maps, who teaches whom, and controls."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.grade import GradeConfig, InitConfig


def chain_of(*grades: dict[str, Any], **settings: Any) -> ChainConfig:
    return ChainConfig.model_validate({"grades": grades, **settings})


@pytest.mark.parametrize("name", ["teacher", "6", "6-2", "a_b", "A" * 60])
def test_names_that_are_folders(name: str) -> None:
    assert GradeConfig(name=name, layers=1).name == name


@pytest.mark.parametrize("name", ["", "-a", ".", "..", "a/b", "a b", "ä", "a.b", "A" * 61, "a\n"])
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(ValidationError):
        GradeConfig(name=name, layers=1)


@pytest.mark.parametrize("layer_map", ["papr", [2, 1], [1, 1], [-1, 0], "../x", ""])
def test_layer_maps_that_are_none(layer_map: Any) -> None:
    with pytest.raises(ValidationError):
        InitConfig.model_validate({"layer_map": layer_map})


def test_a_list_of_layers_must_have_the_grades_length() -> None:
    with pytest.raises(ValidationError, match="names 2 layers, the grade has 3"):
        GradeConfig.model_validate({"name": "3", "layers": 3, "init": {"layer_map": [1, 3]}})


@pytest.mark.parametrize(
    ("teachers", "found"),
    [
        (["previous"] * 4, [None, 0, 1, 2]),
        (["none", "previous", "baseline", "baseline"], [None, 0, 0, 0]),
        (["none", "previous", "pre_distilled", "pre_distilled"], [None, 0, 1, 1]),
        (["none", "none", "previous", "none"], [None, None, 1, None]),
        (["none", "previous", "g0", "g1"], [None, 0, 0, 1]),
    ],
)
def test_who_teaches_whom(teachers: list[str], found: list[int | None]) -> None:
    chain = chain_of(*({"name": f"g{i}", "layers": 4, "teacher": t} for i, t in enumerate(teachers)))
    assert [chain.teacher_of(place) for place in range(4)] == found


@pytest.mark.parametrize("teacher", ["g1", "g2", "prevous", "", "../none"])
def test_nobody_learns_from_a_later_grade_or_a_stranger(teacher: str) -> None:
    with pytest.raises(ValidationError, match="nor an earlier grade"):
        chain_of(
            {"name": "g0", "layers": 4}, {"name": "g1", "layers": 4, "teacher": teacher}, {"name": "g2", "layers": 4}
        )


def test_a_chain_has_grades_with_different_names() -> None:
    with pytest.raises(ValidationError):
        chain_of()
    with pytest.raises(ValidationError, match="two grades are called 'a'"):
        chain_of({"name": "a", "layers": 2}, {"name": "a", "layers": 2})


def test_only_smaller_taught_grades_get_a_control() -> None:
    chain = build_chain([{"layers": [6, 6, 4, 2], "grades.2.teacher": "none", "controls": True}], source="x")
    assert [grade.name for grade in chain.controlled()] == ["4"]
    assert chain.model_copy(update={"controls": False}).controlled() == []


def test_a_control_is_the_same_network_from_labels_alone() -> None:
    draft = {"layers": [6, 3], "optimiser.lr": 1e-3, "init.source": "teacher", "loss.ce.margin": 0.1}
    chain = build_chain([draft], source="x")
    control = chain.control_of(chain.grades[1])
    assert (control.name, control.layers, control.teacher, control.mask.rate) == ("3-alone", 3, "none", 0.0)
    assert (control.optimiser.lr, control.init.source, control.loss.ce.margin) == (1e-3, "encoder", 0.1)
