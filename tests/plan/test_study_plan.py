"""The plan as a whole: counts, costs that add up, what is stored, plain JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pmd_ray.plan.cost import Measured

VARIANTS = {"no_mask": {"mask.rate": 0.0}, "fixed": {"mask.rate": 0.2}}


def test_counts_and_costs_add_up(studied: Any, planned: Any) -> None:
    told = json.loads(json.dumps(planned(studied(VARIANTS), slots=2).json(), allow_nan=False))
    assert told["stages"] == {"naive": 18, "distinct": 12, "stored": 0, "left": 12}
    by_stage = told["cost"]["by_stage"]
    assert told["cost"]["cpu_hours"] == pytest.approx(sum(stage["seconds"] for stage in by_stage) / 3600)
    assert told["cost"]["cpu_hours"] / 2 <= told["cost"]["wall_hours"] < told["cost"]["cpu_hours"]
    assert told["cost"]["naive_hours"] > told["cost"]["cpu_hours"]
    assert told["cost"]["source"] == "counted, at 1 GFLOP/s: 12 stages"
    assert [(v["name"], v["stages"], v["new_stages"]) for v in told["variants"]] == [
        ("baseline", 6, 6),
        ("no_mask", 6, 4),
        ("fixed", 6, 2),
    ]
    assert told["known"] is True
    assert told["missing"] == []
    assert told["power"]["questions"][0]["comparisons"] == 2
    assert {stage["grade"] for stage in by_stage} == {"teacher", "2", "1"}


def test_on_gpus_hours_are_of_gpus(studied: Any, planned: Any) -> None:
    cost = planned(studied(VARIANTS), device="cuda").json()["cost"]
    assert cost["gpu_hours"] > 0
    assert "cpu_hours" not in cost


def test_what_is_stored_costs_nothing_more(studied: Any, planned: Any) -> None:
    study = studied(VARIANTS)
    before = planned(study)
    teachers = [stage.key for stage in before.tree.roots()]
    after = planned(study, stored=[*teachers, "f" * 64])
    assert after.stored == 2
    assert len(after.left) == 10
    assert after.hours == pytest.approx(before.hours - sum(before.costs[key].seconds for key in teachers) / 3600)
    assert [variant.left for variant in after.variants] == [4, 4, 2]
    everything = planned(study, stored=before.tree.stages)
    assert everything.hours == everything.wall_seconds == 0.0
    assert everything.json()["stages"]["left"] == 0


def test_measured_memory_is_believed(studied: Any, planned: Any) -> None:
    study = studied(VARIANTS)
    key = next(iter(planned(study).tree.stages))
    measured = Measured(key=key, seconds=1.0, cpu_seconds=1.0, peak_memory=5 * 10**12)
    assert planned(study, measured=[measured]).json()["memory"] == {
        "largest_stage_bytes": 5 * 10**12,
        "largest_stage": key,
        "machine_bytes": None,
    }


def test_nothing_counts_as_stored_while_something_is_missing(studied: Any, planned: Any) -> None:
    study = studied(VARIANTS, baseline={"encoder": "nobody-at-all/bert_uncased_L-2_H-128_A-2"})
    keys = planned(study).tree.stages
    assert planned(study, stored=keys).stored == 0


def test_an_alias_has_the_stages_of_what_it_means(studied: Any, planned: Any) -> None:
    factors = {"mask": {"on": {}, "off": {"mask.rate": 0.0}}, "twice": {"a": {}, "b": {"optimiser.micro_batch": 4}}}
    told = planned(studied(factors=factors)).json()["variants"]
    assert [(v["name"], v["alias_of"], v["new_stages"]) for v in told] == [
        ("baseline", None, 6),
        ("mask=on,twice=a", "baseline", 0),
        ("mask=on,twice=b", "baseline", 0),
        ("mask=off,twice=a", None, 4),
        ("mask=off,twice=b", "mask=off,twice=a", 0),
    ]
    assert all(variant["stages"] == 6 for variant in told)


def test_power_counts_the_comparisons_that_are_made(studied: Any, planned: Any) -> None:
    seeds = list(range(8))
    compare = [{"grade": "each"}, {"metric": "hits@1", "alternative": "greater", "pairs": [["fixed", "baseline"]]}]
    each, side = planned(studied(VARIANTS, seeds=seeds, compare=compare)).power
    # The teacher is one stage for all, and so are the first students of `fixed` and the baseline: the last grade of
    # that depth counts. 2 pairs of 1 layer, 1 of 2 layers.
    assert each.comparisons == 3
    assert each.difference is not None
    assert side.comparisons == 1
    assert side.difference is not None
    assert side.difference < each.difference
    assert side.smallest_p == 2**-8


def test_a_study_that_asks_nothing_has_no_power(studied: Any, planned: Any) -> None:
    made = planned(studied(VARIANTS).model_copy(update={"compare": ()}))
    assert made.warnings == ()
    assert made.json()["power"] == {
        "seeds": 2,
        "test_triples": 11,
        "smallest_difference": None,
        "smallest_p": None,
        "questions": [],
    }
