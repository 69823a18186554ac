"""The main table's figures follow from the ranks to the last digit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report.synthetic_study import FILE, Made, make_study

from pmd_ray.report.contents import Contents, contents
from pmd_ray.report.measures import METRICS, per_query, per_triple
from pmd_ray.report.summary import EXPLORATORY, SummaryRow, mirrored
from pmd_ray.report.summary_sheets import result_shown, summary_sheet, summary_shown
from pmd_ray.stats.compare import compare
from pmd_ray.stats.interval import interval
from pmd_ray.stats.words import Alternative, Verdict
from pmd_ray.train.report import summarise

HEAD = FILE[: FILE.index("compare:")]


def row(found: Contents, variant: str, grade: str) -> SummaryRow:
    return next(r for r in found.rows if r.variant == variant and r.line and r.line.grade == grade)


def test_metrics_are_those_of_training(found: Contents) -> None:
    for stage in found.evidence.stages.values():
        report = stage.result.test
        assert report is not None
        ours = {metric: float(per_query(metric, stage.ranks.ranks_T2).mean()) for metric in METRICS}
        theirs = report.all.model_dump(by_alias=True)
        assert ours == pytest.approx({metric: theirs[metric] for metric in METRICS}, rel=1e-14)


def test_a_tie_at_the_edge_is_no_hit() -> None:
    ranks_T2 = np.array([[1.0, 1.5], [3.0, 3.5], [10.5, 10.0]])
    assert per_triple("hits@1", ranks_T2).tolist() == [0.5, 0.0, 0.0]
    assert per_triple("hits@3", ranks_T2).tolist() == [1.0, 0.5, 0.0]
    assert per_triple("hits@10", ranks_T2).tolist() == [1.0, 1.0, 0.5]
    assert per_triple("mr", ranks_T2).tolist() == [1.25, 3.25, 10.25]
    assert float(per_triple("mrr", ranks_T2).mean()) == pytest.approx(summarise(ranks_T2.reshape(-1)).mrr)


@pytest.mark.parametrize("metric", METRICS)
def test_mean_spread_and_interval_over_seeds(made: Made, found: Contents, metric: str) -> None:
    values_ST = np.stack(
        [per_triple(metric, found.evidence.stages[made.key("direct", "3", seed)].ranks.ranks_T2) for seed in (0, 1, 2)]
    )
    one = row(found, "direct", "3")
    assert one.figures[metric] == interval(values_ST)
    assert one.sd[metric] == pytest.approx(values_ST.mean(axis=1).std(ddof=1), rel=1e-13)


def test_a_question_gives_its_rows_its_own_comparison(found: Contents) -> None:
    one = row(found, "no_mgfd", "3")
    assert one.against.asked and one.against.comparison is found.answers[0].comparison
    assert one.verdict == found.answers[0].comparison.verdict.value


def test_other_grades_are_exploratory_and_uncorrected(found: Contents) -> None:
    one = row(found, "no_mgfd", "6")
    comparison = one.against.comparison
    assert comparison is not None and (one.verdict, comparison.p_adjusted) == (EXPLORATORY, None)
    assert comparison.p is not None


def test_shared_stages_have_no_difference(found: Contents) -> None:
    one = row(found, "no_mgfd", "teacher")
    assert (one.against.comparison, one.note) == (None, "the same stages")
    assert one.figures == row(found, "baseline", "teacher").figures


def test_the_baseline_is_compared_with_nothing(found: Contents) -> None:
    for one in found.rows:
        if one.variant == "baseline":
            assert one.against.comparison is None and one.verdict == ""


def test_a_control_reads_its_pair_from_the_other_side(tmp_path: Path) -> None:
    made = make_study(
        tmp_path, file=HEAD + "compare: [{pairs: [[baseline, no_mgfd], [baseline, direct]], alternative: greater}]\n"
    )
    found = contents(made.record, made.store)
    answer, one = found.answers[0].comparison, row(found, "no_mgfd", "3").against
    assert answer and one.comparison and one.asked and one.control == "baseline"
    assert one.comparison.difference.mean == -answer.difference.mean
    assert (one.comparison.p, one.comparison.p_adjusted) == (answer.p, answer.p_adjusted)
    assert one.comparison.alternative is Alternative.LESS
    assert row(found, "fixed_10", "3").against.control == "baseline"
    assert row(found, "fixed_10", "3").verdict == EXPLORATORY


def test_the_baseline_is_preferred_where_several_pairs_name_a_variant(tmp_path: Path) -> None:
    made = make_study(
        tmp_path, file=HEAD + "compare: [{pairs: [[fixed_10, no_mgfd], [direct, no_mgfd], [baseline, no_mgfd]]}]\n"
    )
    found = contents(made.record, made.store)
    against = {name: row(found, name, "3").against for name in ("no_mgfd", "fixed_10", "direct")}
    assert {name: one.control for name, one in against.items()} == {
        "no_mgfd": "baseline",
        "fixed_10": "no_mgfd",
        "direct": "no_mgfd",
    }
    assert all(one.asked for one in against.values())


def test_mirroring_gives_what_comparing_the_other_way_gives() -> None:
    luck = np.random.default_rng(5)
    a, b = luck.normal(0.6, 0.1, (8, 50)), luck.normal(0.4, 0.1, (8, 50))
    there = compare(a, b, alternative=Alternative.GREATER, draws=100)
    back = compare(b, a, alternative=Alternative.LESS, draws=100)
    assert mirrored(there).difference == back.difference
    assert (mirrored(there).p, mirrored(there).verdict) == (back.p, Verdict.WORSE)
    with pytest.raises(ValueError, match="non-inferiority"):
        mirrored(compare(a, b, margin=0.1, draws=100))


def test_every_digit_for_machines_and_few_for_people(found: Contents) -> None:
    wide, shown = summary_sheet(found.rows), summary_shown(found.rows, caption="")
    place = wide.column("id").index(row(found, "no_mgfd", "3").line.id)  # type: ignore[union-attr]
    figure = row(found, "no_mgfd", "3").figures["mrr"]
    assert wide.column("mrr_mean")[place] == figure.mean and wide.column("mrr_low")[place] == figure.low
    assert wide.column("parameters_without_embeddings")[place] == 21_000_000
    sd = row(found, "no_mgfd", "3").sd["mrr"]
    assert shown.column("MRR")[place] == f"{figure.mean:.3f} ± {sd:.3f}"
    assert shown.column("parameters")[place] == "45.0 M"


def test_the_result_has_one_row_a_variant_beside_its_teacher_and_its_control(found: Contents) -> None:
    last = {name: chain.last for name, chain in found.chains.items()}
    result = result_shown(found.rows, last, caption="Said.")
    assert result.column("variant") == ["baseline", "no_mgfd", "fixed_10", "direct"]
    assert result.column("teacher's MRR")[0] == f"{row(found, 'baseline', 'teacher').figures['mrr'].mean:.3f}"
    assert result.column("without teacher")[3] == f"{row(found, 'direct', '3-alone').figures['mrr'].mean:.3f}"
    assert result.caption == "Differences are to the baseline. Said." and "control" not in result.columns


def test_what_is_missing_is_said_in_its_rows(tmp_path: Path) -> None:
    made = make_study(tmp_path, without=lambda run, use: (run.variant, use.grade) == ("no_mgfd", "3"), triples=20)
    found = contents(made.record, made.store)
    one = row(found, "no_mgfd", "12")
    assert one.figures == {} and one.line and one.line.seeds == ()
    assert one.missing == "seed 0: grade 3 not trained; seed 1: grade 3 not trained; seed 2: grade 3 not trained"
    assert one.result is not None  # its size is known: that grade was trained
    assert row(found, "no_mgfd", "3").result is None
    assert found.rows[0].missing == ""
    assert replace(one, missing="").note == "no seed for which both are complete"
