"""Drafts merge: dotted and nested forms mean the same, the later wins, the more particular wins within one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import SpecError

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 99),
    "controls": st.booleans(),
    "dataset.text.max_tokens": st.integers(8, 99),
    "encoder.towers": st.sampled_from(["separate", "shared"]),
    "optimiser.lr": st.floats(1e-6, 1e-2),
    "mask.rate": st.floats(0.0, 0.9),
    "mask.positions": st.sampled_from(["code", "description"]),
    "loss.alpha": st.floats(0.0, 0.4),
    "loss.score.space": st.sampled_from(["logits", "cosine"]),
    "loss.ce.temperature.init": st.floats(0.01, 1.0),
    "grades.*.loss.beta": st.floats(0.0, 0.4),
    "grades.4.mask.rate": st.floats(0.0, 0.9),
    "grades.2.init.width": st.integers(8, 64),
}
SETTINGS = st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=6).flatmap(
    lambda keys: st.fixed_dictionaries({key: VALUES[key] for key in keys})
)


def build(*drafts: dict[str, Any]) -> ChainConfig:
    return build_chain([{"layers": [6, 6, 4, 2]}, *drafts], source="test")


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return result


def rates(chain: ChainConfig) -> list[float]:
    return [grade.mask.rate for grade in chain.grades]


@settings(max_examples=40, deadline=None)
@given(SETTINGS)
def test_dotted_and_nested_mean_the_same(drawn: dict[str, Any]) -> None:
    assert build(drawn) == build(nested(drawn))


@settings(max_examples=40, deadline=None)
@given(SETTINGS)
def test_order_inside_one_draft_does_not_matter(drawn: dict[str, Any]) -> None:
    assert build(drawn) == build(dict(reversed(drawn.items())))


@settings(max_examples=40, deadline=None)
@given(SETTINGS)
def test_drafts_are_left_as_they_are(drawn: dict[str, Any]) -> None:
    draft, copy = nested(drawn), nested(drawn)
    build(draft, {"mask.rate": 0.3, "grades": {"4": {"mask": {"rate": 0.1}}}})
    assert draft == copy


def test_a_mask_for_all_reaches_students_only() -> None:
    assert rates(build({"mask.rate": 0.1})) == [0.0, 0.1, 0.1, 0.1]
    assert rates(build({"grades.*.mask.rate": 0.1})) == [0.0, 0.1, 0.1, 0.1]
    assert rates(build({"grades.teacher.mask.rate": 0.1})) == [0.1, 0.2, 0.1, 0.0]


def test_how_a_teacher_would_mask_is_set_for_all() -> None:
    chain = build({"mask.positions": "code"}, {"grades.teacher.mask.rate": 0.1})
    assert [grade.mask.positions for grade in chain.grades] == ["code"] * 4


def test_one_grade_alone_is_changed() -> None:
    chain = build({"grades.6.optimiser.lr": 1e-3})
    assert [grade.optimiser.lr for grade in chain.grades] == [5e-5, 1e-3, 5e-5, 5e-5]


def test_a_grade_without_teacher_takes_no_mask_of_all() -> None:
    assert rates(build({"grades.4.teacher": "none", "mask.rate": 0.3})) == [0.0, 0.3, 0.0, 0.3]
    assert rates(build({"mask.rate": 0.3}, {"grades.4.teacher": "none"})) == [0.0, 0.3, 0.0, 0.3]
    assert rates(build({"teacher": "none"})) == [0.0] * 4


def test_a_mask_of_its_own_survives_a_later_mask_for_all_only_on_a_teacher() -> None:
    chain = build({"grades": {"teacher": {"mask": {"rate": 0.1}}, "6": {"mask": {"rate": 0.1}}}}, {"mask.rate": 0.3})
    assert rates(chain) == [0.1, 0.3, 0.3, 0.3]


@pytest.mark.parametrize("first", ["mask.rate", "grades.*.mask.rate", "grades.6.mask.rate"])
@pytest.mark.parametrize("second", ["mask.rate", "grades.*.mask.rate", "grades.6.mask.rate"])
def test_the_later_draft_wins(first: str, second: str) -> None:
    assert build({first: 0.31}, {second: 0.32}).grades[1].mask.rate == 0.32


def test_the_more_particular_wins_within_one_draft() -> None:
    draft = {"grades.6.mask.rate": 0.3, "grades.*.mask.rate": 0.2, "mask.rate": 0.1}
    assert rates(build(draft)) == [0.0, 0.3, 0.2, 0.2]
    assert rates(build({"mask_rates": [0.5, 0.4, 0.3], "mask.rate": 0.1})) == [0.0, 0.5, 0.4, 0.3]


def test_layers_bring_halving_masks_unless_masks_are_given() -> None:
    assert rates(build({"layers": [6, 6, 3, 2]})) == [0.0, 0.2, 0.1, 0.0]
    assert rates(build({"mask.rate": 0.0}, {"layers": [6, 3, 2]})) == [0.0, 0.0, 0.0]
    assert rates(build({"mask_rates": [0.3, 0.3, 0.3]}, {"layers": [6, 6, 3, 2]})) == [0.0, 0.3, 0.3, 0.3]
    assert rates(build({"mask_rates": [0.3, 0.3, 0.3]}, {"layers": [6, 3, 2]})) == [0.0, 0.2, 0.0]


def test_equal_layers_get_different_names() -> None:
    assert [grade.name for grade in build({"layers": [6, 6, 6, 3, 3]}).grades] == ["teacher", "6", "6-2", "3", "3-2"]


def test_layers_of_one_grade() -> None:
    assert [grade.layers for grade in build({"grades.2.layers": 3}).grades] == [6, 6, 4, 3]


def test_written_grades_replace_a_presets() -> None:
    chain = build({"mask.positions": "code", "grades": {"teacher": {"layers": 4}, "small": {"layers": 2}}})
    assert [(grade.name, grade.layers, grade.mask.positions) for grade in chain.grades] == [
        ("teacher", 4, "code"),
        ("small", 2, "code"),
    ]


def test_a_number_is_a_grades_name_and_its_layers() -> None:
    chain = build({"grades": {"teacher": {"layers": 4}, 2: {"mask": {"rate": 0.1}}}})
    assert (chain.grades[1].name, chain.grades[1].layers) == ("2", 2)


def test_a_name_alone_keeps_the_other_settings() -> None:
    chain = build(
        {"encoder": {"name": "minilm", "towers": "shared"}, "dataset.text.neighbours": False}, {"encoder": "x"}
    )
    assert (chain.encoder.name, chain.encoder.towers) == ("x", "shared")
    chain = build({"dataset.text.neighbours": False}, {"dataset": "folder"})
    assert (chain.dataset.source, chain.dataset.text.neighbours) == ("folder", False)


def test_the_same_loss_by_name_keeps_its_options() -> None:
    chain = build({"loss.score.space": "cosine"}, {"loss.score": "scores"}, {"loss.feature.name": "mgfd"})
    assert chain.grades[0].loss.score.model_dump()["space"] == "cosine"


def test_another_loss_drops_the_options_of_the_first() -> None:
    with pytest.raises(SpecError) as caught:
        build({"loss.score.space": "cosine"}, {"loss.score": "other"})
    assert [line for line in caught.value.errors if "no loss 'other'" in line] == caught.value.errors


def test_numbers_that_yaml_takes_for_text_are_numbers() -> None:
    assert build({"optimiser.lr": "1e-5"}).grades[0].optimiser.lr == 1e-5


def test_students_may_start_from_their_teachers_at_once() -> None:
    assert [grade.init.source for grade in build({"init.source": "teacher"}).grades] == ["encoder"] + ["teacher"] * 3
