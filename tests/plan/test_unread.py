"""Settings that change nothing: found by taking each back, and told from those that the baseline has already."""

from __future__ import annotations

from typing import Any

import pytest

from pmd_ray.plan.unread import taken_back, unread_settings


def unread(studied: Any, settings: dict[str, Any], **parts: Any) -> list[tuple[str, bool]]:
    study = studied({"v": settings}, seeds=[0], **parts)
    return [(key, same) for name, key, same in unread_settings(study) if name == "v"]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"loss.beta": 0.0}, []),
        ({"loss.alpha": 0.0, "loss.score.temperature": 4.0}, [("loss.score.temperature", False)]),
        ({"loss.alpha": 0.0, "loss.score": "lkd"}, [("loss.score", False)]),
        ({"loss.alpha": 0.3, "optimiser.batch": 16}, [("optimiser.batch", True)]),
        ({"teacher": "none", "loss.beta": 0.3}, [("loss.beta", False)]),
        ({"loss.alpha": 0.3, "grades.1.mask.policy": "uniform"}, [("grades.1.mask.policy", True)]),
        ({"loss.alpha": 0.3, "encoder.dropout": 0.3}, []),
        ({"loss.alpha": 0.3, "dataset.text.max_neighbours": 3}, []),
        (
            {"dataset.text.neighbours": False, "dataset.text.max_neighbours": 3},
            [("dataset.text.max_neighbours", False)],
        ),
        ({"loss.alpha": 0.3, "optimiser.micro_batch": 4}, [("optimiser.micro_batch", False)]),
        ({"layers": [2, 1], "mask_rates": [0.0]}, []),
        (
            {"layers": [2, 1], "mask_rates": [0.0], "loss.ce.pre_batch_weight": 0.3},
            [("loss.ce.pre_batch_weight", False)],
        ),
    ],
)
def test_a_setting_that_changes_nothing_is_found(
    studied: Any, settings: dict[str, Any], found: list[tuple[str, bool]]
) -> None:
    assert unread(studied, settings) == found


def test_taking_everything_back_gives_the_baseline(studied: Any) -> None:
    settings = {"loss.alpha": 0.3, "mask.rate": 0.1, "grades.1.optimiser.lr": 0.1, "evaluation.ties": "sorted"}
    study = studied({"v": settings}, seeds=[0])
    baseline, chain = (variant.arms[0].chain for variant in study.variants)
    for key in settings:
        assert chain != baseline
        chain = taken_back(chain, baseline, key)
    assert chain == baseline


def test_a_teacher_that_the_chain_lacks_cannot_be_taken_back(studied: Any) -> None:
    baseline = {"grades": {"1": {"teacher": "2"}}}
    assert unread(studied, {"layers": [2, 1], "grades.1.teacher": "teacher"}, baseline=baseline) == []


def test_an_option_of_another_loss_is_taken_back_to_its_default(studied: Any) -> None:
    assert unread(studied, {"loss.score.name": "lkd", "loss.score.temperature": 4.0}) == []


def test_cells_of_a_product_are_told_as_merged_instead(studied: Any) -> None:
    factors = {
        "mask": {"off": {"mask.rate": 0.0, "loss.beta": 0.0}, "on": {}},
        "teacher": {"same": {}, "clean": {"mask.teacher_input": "clean"}},
    }
    study = studied(factors=factors, seeds=[0])
    assert list(unread_settings(study)) == []
    assert [variant.alias_of for variant in study.variants if variant.alias_of] == ["mask=off,teacher=same", "baseline"]
