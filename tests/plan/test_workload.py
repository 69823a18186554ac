"""What a stage runs: its teacher never, once or at every step; one look at a batch or two."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from pmd_ray.plan.identities import identify
from pmd_ray.plan.tree import build_tree
from pmd_ray.plan.workload import Workload, teacher_is_asked, workloads, workloads_of
from pmd_ray.spec.grade import GradeConfig


def grade(**settings: Any) -> GradeConfig:
    return GradeConfig.model_validate({"name": "4", "layers": 4, **settings})


def test_the_plan_and_the_training_agree_on_constant_teachers() -> None:
    from pmd_ray.model.losses import Setting
    from pmd_ray.train.objective import states_asked
    from pmd_ray.train.teacher import is_constant

    setting = Setting(4, 6, 32, 32, ("hr", "tail"))
    seen = set()
    for rate, alpha, beta, sees, clean, when in itertools.product(
        (0.0, 0.2), (0.0, 0.1), (0.0, 0.1), ("same", "clean", "own"), ("same", "clean"), ("nowhere", "random")
    ):
        for feature in ("masked_mean", "sequence"):
            one = grade(
                mask={"rate": rate, "teacher_input": sees, "for_score": clean},
                loss={
                    "alpha": alpha,
                    "beta": beta,
                    "feature": {"name": "mgfd", "feature": feature, "when_unmasked": when},
                },
            )
            asked = teacher_is_asked(one, 6, 32, 32)
            seen.add(asked)
            assert (asked == "once") == is_constant(one, states_asked(one, setting)[1])
            assert (asked == "nothing") == (not alpha and not beta)
    assert seen == {"nothing", "once", "every step"}


def works(study: Any) -> list[Workload]:
    identities = identify(study, device="cpu")
    return list(workloads(build_tree(study.runs(), identities.facts_of), identities).values())


def test_a_chain_as_it_is_trained(studied: Any) -> None:
    teacher, first, last = works(studied({"x": {"loss.alpha": 0.3}}, seeds=[0]))[:3]
    assert (teacher.teacher, first.teacher, last.teacher) == ("nothing", "every step", "once")
    assert (first.teacher_layers, last.teacher_layers) == (2, 2)
    assert teacher.weights > last.weights
    assert first.steps == 2 * first.steps_per_epoch == 2 * (2 * 60 // 16)
    assert first.device == "cpu-fp32"


@pytest.mark.parametrize(
    ("settings", "sights"),
    [
        ({}, 1),
        ({"mask.for_ce": "clean"}, 2),
        ({"mask.for_ce": "clean", "loss.beta": 0.0, "mask.for_score": "clean"}, 1),
        ({"mask.for_score": "clean"}, 2),
    ],
)
def test_clean_and_masked_text_are_two_looks(studied: Any, settings: dict[str, Any], sights: int) -> None:
    baseline = {**settings, "loss.alpha": 0.1}
    first = works(studied({"x": {"optimiser.lr": 0.1}}, seeds=[0], baseline=baseline))[1]
    assert first.sights == sights


def test_seeds_cost_alike_and_other_batches_do_not(studied: Any) -> None:
    study = studied({"x": {"optimiser.batch": 8}}, seeds=[0, 1])
    identities = identify(study, device="cpu")
    tree = build_tree(study.runs(), identities.facts_of)
    kinds = {
        (key, stage.seed, stage.grade.optimiser.batch): work.kind
        for (key, work), stage in zip(workloads(tree, identities).items(), tree.stages.values(), strict=True)
        if stage.teacher_key is None
    }
    # The weights of `scratch` follow the seed, and so does its fingerprint: it is no reason to cost more.
    assert len(kinds) == 4
    assert len({kind.reading.batch for kind in kinds.values()}) == 2
    assert len(set(kinds.values())) == 2


def test_an_earlier_study_of_another_graph_says_nothing(studied: Any) -> None:
    from pmd_ray.spec.study_record import StudyRecord

    study = studied({"x": {"loss.alpha": 0.3}})
    identities = identify(study, device="cpu")
    assert identities.dataset is not None
    tree = build_tree(study.runs(), identities.facts_of)
    record = StudyRecord(
        study=study,
        file="study.yaml",
        storage="s",
        device="cpu",
        dataset=identities.dataset,
        encoders=identities.encoders,
        created="2026-01-01T00:00:00+00:00",
        command="pmd ablate",
        runs=tree.runs,
        keys=tuple(tree.stages),
    )
    assert workloads_of(record, identities) == workloads(tree, identities)
    other = record.dataset.model_copy(update={"fingerprint": "0" * 64})
    assert workloads_of(record.model_copy(update={"dataset": other}), identities) == {}
