"""Figures: what they show is computed first, and each is drawn only where the study makes sense of it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from report.synthetic_study import FILE, make_study

from pmd_ray.report.contents import Contents, contents
from pmd_ray.report.draw import INK, draw_chart, draw_forest, for_page
from pmd_ray.report.plots import Chart, Dot, Panel, Series

RATES = """\
baseline: {layers: [12, 12, 6], dataset: {source: cldr}, encoder: {name: scratch}, mask_rates: [0.2, 0.0]}
variants:
  m00: {grades.12.mask.rate: 0.0}
  m30: {grades.12.mask.rate: 0.3}
  other: {grades.12.mask.rate: 0.4, loss.beta: 0.0}
seeds: [0, 1]
"""


def chart(found: Contents, name: str) -> Chart | None:
    return next((chart for chart in found.charts if chart.name == name), None)


def test_size_against_mrr(found: Contents) -> None:
    size = chart(found, "mrr_parameters")
    assert size is not None
    series = {one.name: one for one in size.panels[0].series}
    assert list(series) == ["baseline", "no_mgfd", "fixed_10", "direct", "baseline, without teacher", "teacher"]
    dots = series["no_mgfd"].dots
    assert [dot.x for dot in dots] == [45e6, 66e6, 108e6]
    line = found.chains["no_mgfd"].last
    assert dots[0].seeds == tuple(found.numbers.per_seed(line, "mrr"))
    assert dots[0].mean == pytest.approx(np.mean(dots[0].seeds), rel=1e-15)


def test_networks_of_one_size_are_no_curve(tmp_path: Path) -> None:
    made = make_study(tmp_path, file=RATES.replace("[12, 12, 6]", "[12, 12]").replace(", 0.0]", "]"), triples=9)
    assert chart(contents(made.record, made.store), "mrr_parameters") is None


def test_schedules_need_two_variants_with_two_depths(found: Contents, tmp_path: Path) -> None:
    depths = chart(found, "schedules")
    assert depths is not None and depths.x_ticks == (3.0, 6.0, 12.0)
    assert [panel.title for panel in depths.panels] == ["MRR", "Hits@1", "Hits@3", "Hits@10"]
    assert {one.name: len(one.dots) for one in depths.panels[0].series}["direct"] == 1
    text = FILE.replace("[12, 12, 6, 3]", "[12, 3]").replace("mask_rates: [0.2, 0.1, 0.0]", "mask_rates: [0.2]")
    made = make_study(tmp_path, file=text.replace("direct: {layers: [12, 3]}", "direct: {loss.alpha: 0.3}"), triples=9)
    assert chart(contents(made.record, made.store), "schedules") is None


def test_mask_rates_need_three_values_of_one_grade_and_nothing_else(found: Contents, tmp_path: Path) -> None:
    assert chart(found, "mask_rate") is None
    made = make_study(tmp_path / "rates", file=RATES, triples=9)
    rates = chart(contents(made.record, made.store), "mask_rate")
    assert rates is not None
    assert [panel.title for panel in rates.panels] == ["Hits@1", "Hits@10"]
    (series,) = rates.panels[0].series
    assert [dot.x for dot in series.dots] == [0.0, 0.2, 0.3]  # `other` differs in its loss too
    made = make_study(tmp_path / "two", file=RATES.replace("m30: {grades.12", "m30: {grades.6"), triples=9)
    assert chart(contents(made.record, made.store), "mask_rate") is None


def test_a_forest_has_a_row_for_each_comparison(found: Contents) -> None:
    assert found.forest is not None
    first, second = found.forest.groups
    assert [row.label for row in first.rows] == [
        f"{name} − baseline, 3 layers" for name in ("no_mgfd", "fixed_10", "direct")
    ]
    assert (first.margin, second.margin) == (None, 0.02)
    assert second.rows[0].seeds == found.answers[-1].by_seed


def test_drawings_are_the_same_each_time_and_well_formed(found: Contents) -> None:
    assert found.forest is not None
    first, again = draw_forest(found.forest), draw_forest(found.forest)
    assert first == again and first.png.startswith(b"\x89PNG")
    for drawing in [first, *map(draw_chart, found.charts)]:
        ET.fromstring(drawing.svg)
        assert re.search(r"<svg[^>]* viewBox=", for_page(drawing))
        assert INK.encode() in drawing.svg and INK not in for_page(drawing)


def test_names_are_text_in_a_drawing() -> None:
    name = "<script>alert(1)</script> $x^2$ &"
    dots = tuple(Dot(x=x, mean=0.5, seeds=(0.4, 0.6)) for x in (3.0, 6.0))
    panel = Panel(title="MRR", series=(Series(name=name, dots=dots), Series(name="b", dots=dots)))
    drawing = draw_chart(Chart(name="schedules", title='a "title"', x_label="layers", panels=(panel,)))
    texts = [element.text for element in ET.fromstring(drawing.svg).iter() if element.tag.endswith("text")]
    assert name in texts and b"<script" not in drawing.svg
    assert 'aria-label="a &quot;title&quot;"' in for_page(drawing)


def test_many_variants_are_told_apart() -> None:
    series = tuple(Series(name=f"variant {n}", dots=(Dot(x=1.0, mean=0.1 * n, seeds=(0.1 * n,)),)) for n in range(20))
    drawing = draw_chart(Chart(name="schedules", title="t", x_label="x", panels=(Panel(title="MRR", series=series),)))
    assert all(f"variant {n}".encode() in drawing.svg for n in range(20))
