"""Presets are whole chains, and say what the method notes say of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.spec.chain_file import dump_chain, load_chain
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.presets import PRESETS, halving_rates


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_writing_and_reading(name: str, tmp_path: Path) -> None:
    chain = load_chain(name)
    path = tmp_path / "chain.yaml"
    path.write_text(dump_chain(chain), encoding="utf-8")
    assert load_chain(str(path)) == chain


@pytest.mark.parametrize("name", ["pmd_code", "pmd_paper", "pmd_scaled"])
def test_the_papers_chain(name: str) -> None:
    grades = load_chain(name).grades
    assert [grade.name for grade in grades] == ["teacher", "12", "9", "6", "3"]
    assert [grade.layers for grade in grades] == [12, 12, 9, 6, 3]
    assert [grade.mask.rate for grade in grades] == [0.0, 0.2, 0.1, 0.05, 0.0]


def test_pmd_code_keeps_the_codes_quirks() -> None:
    chain = load_chain("pmd_code")
    grade = chain.grades[1].model_dump()
    mask, loss = grade["mask"], grade["loss"]
    assert (mask["positions"], mask["sampling"], mask["count"], mask["per"]) == (
        "code",
        "with_replacement",
        "floor",
        "occurrence",
    )
    assert (loss["score"]["space"], loss["score"]["margin"], loss["score"]["false_negatives"]) == (
        "logits",
        "student",
        "zero",
    )
    assert (loss["feature"]["feature"], loss["feature"]["normalise"], loss["feature"]["reduction"]) == (
        "masked_mean",
        "l2",
        "mean",
    )
    assert not loss["ce"]["self_negatives"]
    assert grade["select"]["checkpoint"] == "last"
    assert grade["optimiser"]["decay_everything"]
    assert chain.evaluation.ties == "sorted"


def test_simkgc_is_a_teacher_alone_with_self_negatives() -> None:
    (grade,) = load_chain("simkgc").grades
    assert (grade.name, grade.layers, grade.mask.rate) == ("teacher", 12, 0.0)
    assert grade.loss.ce.self_negatives


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_function_of_the_layers(name: str) -> None:
    chain = build_chain([PRESETS[name](layers=(4, 2))], source=name)
    assert [grade.layers for grade in chain.grades] == [4, 2]


@given(st.integers(0, 12))
def test_mask_rates_halve_and_end_at_zero(students: int) -> None:
    rates = halving_rates(students)
    assert len(rates) == students
    assert rates[-1:] == [0.0] * bool(students)
    assert all(later == pytest.approx(earlier / 2, abs=1e-6) for earlier, later in pairwise(rates[:-1]))


def test_the_papers_rates() -> None:
    assert halving_rates(4) == [0.2, 0.1, 0.05, 0.0]
    assert halving_rates(3) == [0.2, 0.1, 0.0]
