"""Parts add up to the whole: seeds, relations, directions, single queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from report.synthetic_study import RELATIONS, Made

from pmd_ray.report.breakdown import by_direction_sheet, by_relation_sheet, per_seed_sheet
from pmd_ray.report.contents import Contents
from pmd_ray.report.measures import METRICS
from pmd_ray.report.queries import SCHEMA, queries_table
from pmd_ray.report.sheet import Sheet


def rows(sheet: Sheet, **where: Any) -> list[dict[str, Any]]:
    found = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]
    return [row for row in found if all(row[key] == value for key, value in where.items())]


def test_seeds_average_to_the_summary(found: Contents) -> None:
    sheet = per_seed_sheet(found.arms, evidence=found.evidence, numbers=found.numbers)
    assert len(sheet.rows) == 3 * (6 + 6 + 6 + 3)
    for one in found.rows:
        assert one.line is not None
        seeds = rows(sheet, variant=one.variant, grade=one.line.grade)
        assert [row["seed"] for row in seeds] == [0, 1, 2]
        for metric in METRICS:
            assert np.mean([row[metric] for row in seeds]) == pytest.approx(one.figures[metric].mean, rel=1e-14)


def test_per_seed_names_the_stage_and_no_time(found: Contents, made: Made) -> None:
    sheet = per_seed_sheet(found.arms, evidence=found.evidence, numbers=found.numbers)
    (row,) = rows(sheet, variant="direct", grade="3", seed=2)
    assert row["stage"] == made.key("direct", "3", 2)
    assert row["valid_mrr"] == found.evidence.valid_mrr(row["stage"])
    assert not [name for name in sheet.columns if "second" in name or "time" in name]


def test_relations_weigh_up_to_the_whole(found: Contents) -> None:
    sheet = by_relation_sheet(found.chains.values(), evidence=found.evidence, numbers=found.numbers)
    for one in found.rows:
        assert one.line is not None
        parts = rows(sheet, variant=one.variant, grade=one.line.grade)
        assert [row["relation"] for row in parts] == sorted(RELATIONS)
        triples = np.array([row["triples"] for row in parts])
        assert triples.sum() == 60
        for metric in METRICS:
            mean = float((np.array([row[metric] for row in parts]) * triples).sum() / 60)
            assert mean == pytest.approx(one.figures[metric].mean, rel=1e-13)


def test_directions_average_to_the_whole_and_to_what_training_reported(found: Contents) -> None:
    sheet = by_direction_sheet(found.chains.values(), numbers=found.numbers)
    one = found.rows[0]
    assert one.line is not None
    forward, backward = rows(sheet, variant="baseline", grade="teacher")
    assert (forward["direction"], backward["direction"]) == ("forward", "backward")
    assert (forward["mrr"] + backward["mrr"]) / 2 == pytest.approx(one.figures["mrr"].mean, rel=1e-14)
    reports = [found.evidence.stages[key].result.test for key in one.line.counted_keys]
    assert forward["mr"] == pytest.approx(np.mean([report.forward.mr for report in reports if report]), rel=1e-14)


def test_single_queries_give_every_figure_again(found: Contents) -> None:
    table = queries_table(found.arms, found.evidence)
    assert table.schema == SCHEMA and len(table) == 3 * (6 + 6 + 6 + 3) * 120
    chosen = table.filter((pc.field("variant") == "no_mgfd") & (pc.field("grade") == "6"))
    ranks = chosen["rank"].to_numpy()
    one = next(r for r in found.rows if r.variant == "no_mgfd" and r.line and r.line.grade == "6")
    assert (1 / ranks).mean() == pytest.approx(one.figures["mrr"].mean, rel=1e-13)
    assert pc.value_counts(chosen["seed"]).field("counts").to_pylist() == [120, 120, 120]


def test_queries_are_as_they_were_asked(found: Contents) -> None:
    forward, backward = queries_table(found.arms, found.evidence).slice(0, 2).to_pylist()
    assert (forward["direction"], backward["direction"]) == ("forward", "backward")
    assert (forward["head"], forward["answer"]) == (backward["answer"], backward["head"])
    assert forward["relation"] == backward["relation"] == RELATIONS[0]
