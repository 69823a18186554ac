"""Our figures stand beside the paper's only where it has the very same."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.synthetic_study import Made, make_study

from pmd_ray.report.contents import Contents, contents
from pmd_ray.report.paper import paper_sheet, paper_shown, paper_values, why_not
from pmd_ray.report.sheet import Sheet

TABLE4 = """\
baseline: {preset: pmd_code, dataset: {source: WN18RR}, encoder: {name: BERT}}
variants:
  no_mgfd: {mask.rate: 0.0, loss.beta: 0.0}
  truncated: {teacher: none}
seeds: [0, 1]
"""


def study(folder: Path, *, name: str = "paper_table4", bert: str = "bert-base-uncased", **given: str) -> Made:
    return make_study(
        folder, file=TABLE4.replace("BERT", bert), name=name, triples=9, dataset=given.get("dataset", "WN18RR")
    )


def paper(found: Contents) -> Sheet | None:
    return paper_sheet(found.record, list(found.chains.values()), found.numbers.per_seed)


def cells(sheet: Sheet, variant: str, layers: int, metric: str) -> dict[str, object]:
    rows = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]
    (row,) = [r for r in rows if (r["variant"], r["layers"], r["metric"]) == (variant, layers, metric)]
    return row


def test_a_shipped_study_is_matched_by_variant_and_depth(tmp_path: Path) -> None:
    made = study(tmp_path)
    found = contents(made.record, made.store)
    sheet = paper(found)
    assert sheet is not None
    assert cells(sheet, "no_mgfd", 12, "mr")["paper"] == 145.6
    assert cells(sheet, "truncated", 3, "mrr")["paper"] == 0.612
    row = cells(sheet, "baseline", 3, "hits@3")
    assert (row["paper"], row["source"], row["seeds"]) == (0.695, "Table 4", 2)
    line = found.chains["baseline"].last
    ours = float(found.numbers.per_seed(line, "hits@3").mean())
    assert row["ours"] == ours and row["ours_minus_paper"] == ours - 0.695
    teacher = [r for r in sheet.rows if r[1] == "baseline" and r[2] == "teacher"]
    assert [(r[4], r[8]) for r in teacher] == [("mrr", 0.671), ("hits@1", 0.585), ("hits@3", 0.731), ("hits@10", 0.817)]
    assert len(paper_shown(sheet).rows) == len(sheet.rows)


def test_pmd_itself_is_known_in_any_study_on_its_graphs(tmp_path: Path) -> None:
    made = study(tmp_path, name="mine", dataset="FB15k-237")
    sheet = paper(contents(made.record, made.store))
    assert sheet is not None and set(sheet.column("variant")) == {"baseline"}
    assert cells(sheet, "baseline", 9, "mrr")["paper"] == 0.326
    assert set(sheet.column("source")) == {"Table 2"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"dataset": "cldr"}, "the paper has no figures for cldr (it has WN18RR and FB15k-237)"),
        ({"bert": "minilm"}, "the paper starts from a BERT of 12 layers, this study from 12 of minilm"),
    ],
)
def test_elsewhere_there_is_none_and_why(tmp_path: Path, given: dict[str, str], why: str) -> None:
    made = study(tmp_path, **given)
    found = contents(made.record, made.store)
    assert paper(found) is None and why_not(made.record) == why


def test_a_local_copy_of_the_encoder_is_the_encoder(tmp_path: Path) -> None:
    made = study(tmp_path, bert="/models/bert-base-uncased")
    assert why_not(made.record) is None


def test_mask_rates_are_matched_by_their_rate(tmp_path: Path) -> None:
    text = "baseline: {preset: pmd_code, layers: [12, 12], dataset: {source: WN18RR}, mask.rate: 0.2}\n"
    text += "variants: {any: {mask.rate: 0.35}, new: {mask.rate: 0.33}}\nseeds: [0]\n"
    made = make_study(tmp_path, file=text, name="paper_figure3", triples=9, dataset="WN18RR")
    sheet = paper(contents(made.record, made.store))
    assert sheet is not None
    assert cells(sheet, "any", 12, "hits@10")["paper"] == 0.8427
    assert {row[2] for row in sheet.rows} == {"12"} and "new" not in sheet.column("variant")


def test_the_papers_values_are_shares_with_a_source() -> None:
    values = paper_values()
    assert len({(v.study, v.dataset, v.variant, v.place, v.layers, v.mask_rate, v.metric) for v in values}) == len(
        values
    )
    for value in values:
        assert value.source and (value.value > 100 if value.metric == "mr" else 0 < value.value < 1)
