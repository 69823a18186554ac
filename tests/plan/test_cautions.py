"""Warnings: each where it is due, and none where all is well."""

from __future__ import annotations

from typing import Any

import pytest


def warnings(
    studied: Any, planned: Any, variants: Any, *, slots: int = 1, memory: int | None = None, **parts: Any
) -> str:
    study = studied(variants, **parts)
    return "\n".join(planned(study, slots=slots, memory=memory).warnings)


ONE = {"x": {"loss.alpha": 0.3}}
WELL = {"seeds": list(range(6))}


def test_where_all_is_well_there_is_no_warning(studied: Any, planned: Any) -> None:
    assert warnings(studied, planned, ONE, memory=10**12, budget={"hours": 1000, "stages": 1000}, **WELL) == ""


def test_five_seeds_cannot_show_anything_two_sided(studied: Any, planned: Any) -> None:
    said = warnings(studied, planned, ONE, seeds=[0, 1, 2, 3, 4])
    assert "two-sided sign-flip test over 5 seeds cannot go below p = 0.0625: nothing can be shown at 0.05" in said
    assert "take 6 seeds, or name a side beforehand" in said


def test_five_seeds_can_show_a_side(studied: Any, planned: Any) -> None:
    compare = [{"alternative": "greater"}]
    assert warnings(studied, planned, ONE, seeds=[0, 1, 2, 3, 4], compare=compare) == ""
    said = warnings(studied, planned, ONE, seeds=[0, 1, 2, 3], compare=compare)
    assert "one-sided sign-flip test over 4 seeds cannot go below p = 0.0625" in said
    assert "take 5 seeds" in said
    assert "beforehand" not in said


def test_many_comparisons_need_more_seeds(studied: Any, planned: Any) -> None:
    many = {f"a{number}": {"loss.alpha": 0.1 * number + 0.05} for number in range(1, 5)}
    said = warnings(studied, planned, many, **WELL)
    assert "cannot go below p = 0.03125 (0.125 adjusted for 4 comparisons)" in said
    assert "take 8 seeds" in said
    assert "ask at most 1 pair" in said and "name a side" not in said, "one-sided it would be 0.0625: no way out"


def test_one_seed_is_no_test(studied: Any, planned: Any) -> None:
    said = warnings(studied, planned, ONE, seeds=[0])
    assert said.startswith("1 seed, no test")
    assert "sign-flip" not in said


def test_a_margin_that_is_too_narrow(studied: Any, planned: Any) -> None:
    assert "a margin of 0.001 in mrr is narrow" in warnings(studied, planned, ONE, compare=[{"margin": 0.001}], **WELL)
    assert warnings(studied, planned, ONE, compare=[{"margin": 0.5}], **WELL) == ""


def test_cells_that_mean_the_same_are_merged(studied: Any, planned: Any) -> None:
    factors = {
        "mask": {"off": {"mask.rate": 0.0, "loss.beta": 0.0}, "on": {}},
        "teacher": {"same": {}, "clean": {"mask.teacher_input": "clean"}},
    }
    said = warnings(studied, planned, None, factors=factors, seeds=list(range(9)))
    assert "merged: mask=off,teacher=clean means the same as mask=off,teacher=same" in said
    assert "merged: mask=on,teacher=same means the same as the baseline" in said


def test_settings_that_nothing_reads_are_named(studied: Any, planned: Any) -> None:
    variants = {"x": {"loss.alpha": 0.0, "loss.score.temperature": 4.0, "optimiser.batch": 16}}
    said = warnings(studied, planned, variants, **WELL)
    assert "variants.x.loss.score.temperature: nothing reads it there; leave it out" in said
    assert "variants.x.optimiser.batch: is what the baseline has already; leave it out" in said


@pytest.mark.parametrize(
    ("budget", "part"),
    [
        ({"hours": 1e-6}, "budget.hours: 1e-06 CPU-hours will not do"),
        ({"stages": 5}, "budget.stages: 5 will not do, 30 are left to train"),
    ],
)
def test_a_budget_that_will_not_do(studied: Any, planned: Any, budget: dict[str, Any], part: str) -> None:
    assert part in warnings(studied, planned, ONE, budget=budget, **WELL)


def test_a_budget_that_is_missed_by_little_may_not_do(studied: Any, planned: Any) -> None:
    hours = planned(studied(ONE, **WELL)).hours
    assert "CPU-hours may not do" in warnings(studied, planned, ONE, budget={"hours": hours / 1.1}, **WELL)


def test_stored_stages_do_not_count_against_a_budget(studied: Any, planned: Any) -> None:
    study = studied(ONE, budget={"stages": 5}, **WELL)
    keys = list(planned(study).tree.stages)
    assert planned(study, stored=keys[5:]).warnings == ()


def test_more_stages_at_once_than_memory_holds(studied: Any, planned: Any) -> None:
    study = studied(ONE, **WELL)
    largest = planned(study).largest[1]
    said = planned(study, slots=4, memory=round(2.5 * largest)).warnings
    assert len(said) == 1
    assert "memory: 4 stages at once" in said[0]
    assert "use --slots 2" in said[0]
    assert planned(study, slots=2, memory=round(2.5 * largest)).warnings == ()
    assert "lower optimiser.micro_batch" in planned(study, memory=round(largest / 2)).warnings[0]


def test_a_nuisance_grid_multiplies_cost(studied: Any, planned: Any) -> None:
    roles = {"nuisance": {"optimiser.lr": [1e-3, 1e-4], "optimiser.batch": [8, 16]}}
    said = warnings(studied, planned, ONE, roles=roles, **WELL)
    assert "tries 4 choices for every variant and seed (optimiser.lr, optimiser.batch): about 4 times the cost" in said
    unread = {"nuisance": {"optimiser.micro_batch": [4, 8]}}
    assert "nothing reads optimiser.micro_batch" in warnings(studied, planned, ONE, roles=unread, **WELL)


def test_last_grades_of_other_depth(studied: Any, planned: Any) -> None:
    variants = {"short": {"layers": [2, 2]}}
    assert "short (2 layers) with baseline (1)" in warnings(studied, planned, variants, **WELL)
    assert warnings(studied, planned, variants, compare=[{"grade": "each"}], **WELL) == ""


def test_a_grade_that_a_variant_lacks(studied: Any, planned: Any) -> None:
    said = warnings(studied, planned, {"short": {"layers": [2, 2]}}, compare=[{"grade": 1}], **WELL)
    assert "1 layers asked for, which short has not" in said


def test_a_pair_that_is_one_stage(studied: Any, planned: Any) -> None:
    # The chains differ before the teacher of the last grade: that one is the same.
    variants = {"x": {"grades.2.loss.alpha": 0.3, "grades.1.teacher": "teacher"}, "y": {"grades.1.teacher": "teacher"}}
    said = warnings(studied, planned, variants, compare=[{"pairs": [["x", "y"]]}], **WELL)
    assert "x and y end in the same stage: there is nothing to compare" in said
