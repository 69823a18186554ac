"""Equal stages of a study are one: the paper's twelve chains, seeds, controls, aliases."""

from __future__ import annotations

from typing import Any

import pytest

from pmd_ray.plan.identities import identify
from pmd_ray.plan.study_plan import StudyPlan, make_plan
from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.spec.study_file import load_study


def tree_of(study: Any) -> StageTree:
    return build_tree(study.runs(), identify(study, device="cpu").facts_of)


@pytest.fixture(scope="module")
def paper() -> StudyPlan:
    study = load_study("paper_set")
    return make_plan(study, identities=identify(study, device="cpu"), slots=1)


def test_the_twelve_chains_of_the_paper_over_three_seeds(paper: StudyPlan) -> None:
    told = paper.json()
    assert told["stages"] == {"naive": 171, "distinct": 111, "stored": 0, "left": 111}
    assert len(told["variants"]) == 12
    assert sum(variant["new_stages"] for variant in told["variants"]) == 111


def test_a_stage_comes_after_its_teacher_and_knows_who_asks(paper: StudyPlan) -> None:
    seen: set[str] = set()
    for stage in paper.tree.stages.values():
        assert stage.teacher_key is None or stage.teacher_key in seen
        seen.add(stage.key)
    first = paper.tree.roots()[0]
    assert len(first.uses) == 12
    assert len(paper.tree.roots()) == 3  # one of each seed


def test_below_counts_everything_that_needs_a_stage(studied: Any) -> None:
    tree = tree_of(studied({"fixed": {"mask.rate": 0.2}, "no_mask": {"mask.rate": 0.0}}, seeds=[7]))
    teacher = tree.roots()[0]
    # 2:0.2 -> 1, its sibling 1:0.2, and 2 -> 1 of the chain without masks
    assert len(tree.below(teacher.key)) == 5
    assert tree.distinct == 6
    assert tree.naive == 9


def test_the_longest_chain_is_counted_from_each_stage(studied: Any) -> None:
    tree = tree_of(studied({"no_mask": {"mask.rate": 0.0}}, seeds=[0]))
    longest = tree.longest_from(dict.fromkeys(tree.stages, 1.0))
    assert longest[tree.roots()[0].key] == 3.0
    assert sorted(longest.values()) == [1.0, 1.0, 2.0, 2.0, 3.0]


def test_controls_are_roots_that_variants_share(studied: Any) -> None:
    study = studied({"softer": {"loss.alpha": 0.3}}, seeds=[0], baseline={"controls": True})
    tree = tree_of(study)
    controls = [stage for stage in tree.stages.values() if stage.control_of]
    assert [(stage.grade.layers, stage.teacher_key) for stage in controls] == [(1, None)]
    assert {use.variant for use in controls[0].uses} == {"baseline", "softer"}
