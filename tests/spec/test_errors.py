"""What a stranger reads after a mistake: the rule, the value, the way out, all of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import SHOWN_AT_MOST, DataError, SpecError, UserError, nearest


def complaints(draft: dict[str, Any], *more: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        build_chain([{"layers": [6, 6, 3]}, draft, *more], source="chain.yaml")
    return caught.value.errors


ONE_MISTAKE = [
    ({"mask.rte": 0.1}, "mask.rte: unknown key; did you mean 'rate'?"),
    ({"optimizer.lr": 0.1}, "optimizer: unknown key; did you mean 'optimiser'?"),
    ({"lr": 0.1}, "lr: unknown key; did you mean 'optimiser.lr'?"),
    ({"grades.6.lr": 0.1}, "grades.6.lr: unknown key; did you mean 'optimiser.lr'?"),
    ({"loss.score.spce": "logits"}, "loss.score.spce: unknown key; did you mean 'space'?"),
    ({"loss.feature": {"name": "mgfd", "empti": 1}}, "loss.feature.empti: unknown key; did you mean 'empty'?"),
    ({"evaluation.rerank.hop": 2}, "evaluation.rerank.hop: unknown key; did you mean 'hops'?"),
    ({"mask.rate": 1}, "mask.rate: must be in [0, 1), got 1.0; use 0.0 to switch masking off"),
    ({"mask_rates": [0.1, 1.0]}, "mask_rates: must be in [0, 1), got 1.0; use 0.0 to switch masking off"),
    ({"mask_rates": [0.1]}, "mask_rates: must list 2 rates, one for each grade after the first, got [0.1]"),
    ({"mask.rate": "much"}, "mask.rate: must be a number, got 'much'"),
    ({"mask": 0.2}, "mask: must be settings, as in {key: value}, got 0.2"),
    (
        {"mask.positions": "no_specials"},
        "mask.positions: must be 'no_special', 'code', 'description' or 'neighbours', got 'no_specials'; did you mean "
        "'no_special'?",
    ),
    ({"grades.3.mask.sequences": "hr"}, "grades.3.mask.sequences: must be a list, as in [a, b], got 'hr'"),
    ({"mask.policy": "unifrm"}, "mask.policy: no mask policy 'unifrm'; there are uniform; did you mean 'uniform'?"),
    (
        {"loss.score": "mgfd"},
        "loss.score: 'mgfd' is a feature loss, not a score loss",
    ),
    ({"loss.score": 5}, "loss.score: must be the name of a loss, or settings with one, as in {name: scores}, got 5"),
    (
        {"grades.6.loss": {"alpha": 0.7, "beta": 0.6}},
        "grades.6.loss: alpha + beta must be at most 1, got 0.7 + 0.6 = 1.3; lower one of them, or use combination: "
        "additive",
    ),
    (
        {"grades.3.layers": 9},
        "grades.3.layers: a student must not be deeper than its teacher, got 9 over 6 of '6'",
    ),
    (
        {"grades.3.teacher": "12"},
        "grades.3.teacher: '12' is neither a choice (baseline, none, pre_distilled, previous) nor an earlier grade",
    ),
    (
        {"grades.3.teacher": "prevous"},
        "grades.3.teacher: 'prevous' is neither a choice (baseline, none, pre_distilled, previous) nor an earlier "
        "grade; did you mean 'previous'?",
    ),
    ({"grades.9.seed": 1}, "grades.9: no such grade; there are teacher, 6, 3"),
    ({"grades.3.name": "x"}, "grades.3.name: a grade's name is its key; change the key '3' instead"),
    ({"layers": "6,6,3"}, "layers: must list whole numbers, teacher first, as in [12, 12, 9, 6, 3], got '6,6,3'"),
    ({"layers": [6, 0]}, "grades.0.layers: must be greater than or equal to 1, got 0"),
    ({"mask": {"rate": 0.1}, "mask.rate": 0.2}, "mask.rate: is given twice, once as a dotted key"),
    ({"loss.score": "scores", "loss.score.name": "scores"}, "loss.score.name: is given twice, once as a dotted key"),
    ({"init.layer_map": 5}, "init.layer_map: must be text or a list, as in [a, b], got 5"),
    ({"grades.3.init.layer_map": [1, 2, "x"]}, "grades.3.init.layer_map.2: must be a whole number, got 'x'"),
    ({"grades.3.init.layer_map": [1, 2]}, "grades.3: init.layer_map names 2 layers, the grade has 3"),
    ({"grades.teacher.init.source": "teacher"}, "grades.teacher.init.source: there is no teacher to start from"),
    ({"controls": 3}, "controls: must be true or false, got 3"),
    ({"seed": "x"}, "seed: must be a whole number, got 'x'"),
    ({"optimiser.lr": float("nan")}, "optimiser.lr: must be finite, got nan"),
    (
        {"preset": "pmd_cod"},
        "preset: no preset 'pmd_cod'; there are pmd_code, pmd_paper, pmd_scaled, pmd_warm, simkgc; did you",
    ),
    ({"preset": ["x"]}, "preset: no preset '['x']'; there are"),
    ({"mask.": 1}, "'mask.': a key has an empty part"),
]


@pytest.mark.parametrize(("draft", "line"), ONE_MISTAKE, ids=lambda value: str(value)[:40])
def test_one_mistake_is_one_line(draft: dict[str, Any], line: str) -> None:
    (error,) = complaints(draft)
    assert error.startswith(line)
    assert line.endswith(("you", "are", "start from", "grade")) or error == line


@pytest.mark.parametrize("key", ["mask.rate", "optimiser.clip", "loss.feature.normalise", "teacher", "encoder.dropout"])
def test_a_word_that_yaml_reads_as_false_is_named(key: str) -> None:
    (error,) = complaints({key: False})
    assert error.startswith(f"{key}: must not be false; if a word was meant, quote it")


def test_all_mistakes_are_said_at_once() -> None:
    errors = complaints(
        {
            "mask.rte": 0.1,
            "seed": "x",
            "loss": {"alpha": 0.7, "beta": 0.6, "score": {"spce": 1}, "ce": {"margin": -1}},
            "grades": {"6": {"optimiser": {"lr": 0}}, "7": {}, "3": {"layers": 7}},
        },
        {"encoder.towers": "one"},
    )
    starts = ["grades.7:", "mask.rte:", "seed:", "loss.score.spce:", "loss.ce.margin:", "grades.6.optimiser.lr:"]
    starts += ["encoder.towers:", "loss: alpha + beta", "grades.3.layers: a student must not be deeper"]
    assert sorted(errors) == sorted(error for start in starts for error in errors if error.startswith(start))
    assert len(errors) == len(starts)


def test_a_mistake_brings_no_second_one_with_it() -> None:
    assert len(complaints({"optimiser": {"epochs": "many", "schedule_epochs": 2}})) == 1
    assert len(complaints({"loss": {"alpha": "much", "beta": 0.95}})) == 1
    assert len(complaints({"grades.teacher.layers": "six"})) == 1
    with pytest.raises(SpecError) as caught:
        build_chain([{"preset": "pmd_cod", "grades.9.mask.rate": 0.1, "mask_rates": [0.1, 0.0]}], source="x")
    assert len(caught.value.errors) == 1


def test_layers_over_written_grades() -> None:
    (error,) = complaints({"grades": {"teacher": {"layers": 4}, "a": {"layers": 2}}}, {"layers": [4, 3]})
    assert error.startswith("layers: the grades are written out one by one")


def test_a_list_of_grades_is_shown_as_a_mapping() -> None:
    with pytest.raises(SpecError) as caught:
        build_chain([{"grades": [{"name": "big", "layers": 6}, {"name": "small", "layers": 3}]}], source="x")
    (error,) = caught.value.errors
    assert error.startswith("grades: must map names to settings, as in grades: {big: {...}, small: {...}}, got a list")


def test_no_layers_at_all() -> None:
    several: list[list[dict[str, Any]]] = [[], [{}], [{"mask.rate": 0.1}]]
    for drafts in several:
        with pytest.raises(SpecError, match="layers: missing"):
            build_chain(drafts, source="x")


def test_two_grades_of_one_name_and_a_name_that_is_no_folder() -> None:
    (error,) = complaints({"grades": {"teacher": {"layers": 4}, "a/b": {"layers": 2}}})
    assert "must be letters, digits" in error and "'a/b'" in error


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (2, 2), (SHOWN_AT_MOST + 3, SHOWN_AT_MOST)])
def test_listed_errors_are_counted_and_cut(count: int, shown: int) -> None:
    error = DataError("folder", [f"line {number}" for number in range(count)])
    first, *lines = str(error).split("\n")
    assert first == f"folder: {count} error{'s' if count > 1 else ''}"
    assert sum(line.startswith("  line") for line in lines) == shown
    assert lines[-1] == "  ... and 3 more" if count > shown else lines[-1].startswith("  line")
    assert error.exit_code == 2


def test_nearest() -> None:
    assert nearest("rte", ["rate", "policy"]) == "; did you mean 'rate'?"
    assert nearest("xyz", ["rate", "policy"]) == ""


def test_an_unknown_chain(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'demo'"):
        load_chain("dmo")
    with pytest.raises(UserError, match="is a folder"):
        load_chain(str(tmp_path))
    with pytest.raises(UserError, match="no chain file"):
        load_chain("x" * 5000)
