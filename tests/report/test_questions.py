"""Pairs are made by depth and place, compared by the room of statistics, corrected within their question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report.synthetic_study import FILE, Made, make_study

from pmd_ray.report.contents import Contents, contents
from pmd_ray.report.questions import Answer, partner
from pmd_ray.report.study_report import write_report
from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.study_record import StudyRecord
from pmd_ray.stats.compare import compare
from pmd_ray.stats.holm import holm
from pmd_ray.stats.mcnemar import mcnemar_over_seeds
from pmd_ray.stats.words import Alternative, Verdict
from pmd_ray.store.store import Store

HEAD = FILE[: FILE.index("compare:")]


def asked(found: Contents, place: int) -> list[Answer]:
    return [answer for answer in found.answers if answer.place == place]


def ranks(made: Made, variant: str, grade: str, found: Contents) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.stack([found.evidence.stages[made.key(variant, grade, s)].ranks.ranks_T2 for s in (0, 1, 2)])


def test_a_pair_is_compared_seed_by_seed_and_triple_by_triple(made: Made, found: Contents) -> None:
    ours, theirs = (ranks(made, name, "3", found) for name in ("no_mgfd", "baseline"))
    answer = asked(found, 0)[0]
    expected = compare((1 / ours).mean(axis=2), (1 / theirs).mean(axis=2))
    assert answer.comparison is not None
    assert answer.comparison.difference == expected.difference
    assert (answer.comparison.p, answer.comparison.p_triples) == (expected.p, expected.p_triples)
    np.testing.assert_allclose(answer.by_seed, (1 / ours - 1 / theirs).mean(axis=(1, 2)), rtol=0, atol=1e-15)
    hits = [(one <= 1).reshape(3, -1) for one in (ours, theirs)]
    assert answer.mcnemar == mcnemar_over_seeds(*hits)


def test_holm_corrects_within_a_question_only(found: Contents) -> None:
    for place, tests in ((0, 3), (1, 1)):
        comparisons = [answer.comparison for answer in asked(found, place)]
        assert [c and c.p_adjusted for c in comparisons] == holm([c and c.p for c in comparisons])
        assert {c.family for c in comparisons if c} == {tests}


def test_a_margin_asks_for_non_inferiority(found: Contents) -> None:
    (answer,) = asked(found, 1)
    assert answer.comparison is not None
    assert answer.comparison.margin == 0.02
    assert answer.comparison.verdict in (Verdict.NOT_INFERIOR, Verdict.NOT_SHOWN_NOT_INFERIOR)


def test_last_grades_are_compared_whatever_their_depths(tmp_path: Path) -> None:
    made = make_study(tmp_path, file=HEAD.replace("[12, 3]", "[12, 6]"), triples=20)
    answer = asked(contents(made.record, made.store), 0)[2]
    assert (answer.variant, answer.note) == ("direct", "6 layers against 3")
    assert answer.line and answer.against and (answer.line.layers, answer.against.layers) == (6, 3)
    assert answer.comparison is not None


def test_a_partner_stands_in_the_same_place_at_the_same_depth(found: Contents) -> None:
    ours, theirs = found.chains["fixed_10"], found.chains["baseline"]
    for line, other in zip(ours.lines, theirs.lines, strict=True):
        assert partner(line, ours, theirs, last=False) == (other, "")
    none, why = partner(ours.lines[2], ours, found.chains["direct"], last=False)
    assert none is None and why == "direct has no later grade of 6 layers"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """All stages of `HEAD`, whatever a study compares of them."""
    return make_study(tmp_path_factory.mktemp("stored"), triples=20).store


def record_of(folder: Path, file: str) -> StudyRecord:
    return make_study(folder, file=file, triples=20, without=lambda run, use: True).record


@pytest.mark.parametrize(
    ("grade", "depths"), [("each", [12, 6, 3]), ("6", [6]), ("12", [12]), ("last", [3]), ("9", [None])]
)
def test_grades_that_are_asked_for(tmp_path: Path, stored: Store, grade: str, depths: list[int | None]) -> None:
    compare = f"compare:\n  - {{pairs: [[fixed_10, baseline]], grade: {grade}, metric: hits@10}}\n"
    answers = contents(record_of(tmp_path, HEAD + compare), stored).answers
    assert [answer.line and answer.line.layers for answer in answers] == depths
    if depths == [None]:
        assert answers[0].note == "fixed_10 and baseline do not both have a grade of 9 layers"


def test_the_same_stages_are_not_tested_and_do_not_count(tmp_path: Path) -> None:
    text = HEAD + "compare: [{pairs: [[fixed_10, baseline], [direct, baseline]], grade: 12}]\n"
    text = text.replace("mask_rates: [0.2, 0.1, 0.0]", "mask_rates: [0.1, 0.1, 0.0]")
    made = make_study(tmp_path, file=text, triples=20)
    same, first = contents(made.record, made.store).answers
    assert (same.note, same.comparison) == ("the same stages", None)
    assert (first.note, first.comparison) == ("the same stages", None)  # `direct` has no later grade of 12 layers


def test_an_alias_stands_for_what_it_means(tmp_path: Path) -> None:
    text = HEAD.replace("direct: {layers: [12, 3]}", "deep: {layers: [12, 6]}")
    text += "factors:\n  mask: {off: {mask.rate: 0.0, loss.beta: 0.0}, on: {}}\n  loss: {score: {}, more: {}}\n"
    text += 'compare: [{pairs: [["mask=off,loss=more", baseline], ["mask=on,loss=score", baseline]]}]\n'
    made = make_study(tmp_path, file=text, triples=20)
    aliases = made.record.aliases()
    assert aliases["mask=on,loss=score"] == "baseline" and aliases["mask=off,loss=more"] == "no_mgfd"
    found = contents(made.record, made.store)
    assert found.answers[0].line is found.chains["no_mgfd"].last and found.answers[0].comparison is not None
    assert found.answers[1].note == "mask=on,loss=score and baseline mean the same"
    row = next(row for row in found.rows if row.variant == "mask=off,loss=more")
    assert (row.line, row.note, row.figures) == (None, "= no_mgfd", {})


def test_only_seeds_that_both_have_are_paired(tmp_path: Path) -> None:
    made = make_study(
        tmp_path, without=lambda run, use: (run.variant, use.grade, run.seed) == ("no_mgfd", "3", 1), triples=20
    )
    found = contents(made.record, made.store)
    answer = asked(found, 0)[0]
    assert answer.seeds == (0, 2) and answer.comparison and answer.comparison.difference.seeds == 2
    assert asked(found, 0)[1].seeds == (0, 1, 2)


def test_one_seed_has_an_interval_and_no_test(tmp_path: Path) -> None:
    made = make_study(tmp_path, file=FILE.replace("[0, 1, 2]", "[4]"), triples=20)
    found = contents(made.record, made.store)
    comparison = asked(found, 0)[0].comparison
    assert comparison and comparison.p is None and comparison.verdict is Verdict.ONE_SEED
    row = next(row for row in found.rows if row.variant == "no_mgfd" and row.line and row.line.grade == "3")
    assert row.sd["mrr"] is None and row.verdict == "1 seed, no test"


def test_less_is_asked_without_a_margin(tmp_path: Path, stored: Store) -> None:
    """A margin asks whether the variant is not worse: together with `less`, a file is refused."""
    text = HEAD + "compare: [{pairs: [[no_mgfd, baseline]], alternative: less}]\n"
    (answer,) = contents(record_of(tmp_path, text), stored).answers
    assert answer.comparison and answer.comparison.margin is None
    assert answer.comparison.alternative is Alternative.LESS and answer.note == ""
    with pytest.raises(SpecError, match="a margin asks whether the variant is not worse"):
        record_of(tmp_path, text.replace("less", "less, margin: 0.01"))


def test_without_any_artifact_nothing_is_invented(tmp_path: Path) -> None:
    made = make_study(tmp_path, without=lambda run, use: True)
    found = contents(made.record, made.store)
    assert all(answer.comparison is None for answer in found.answers)
    assert {answer.note for answer in found.answers} == {"no seed for which both are complete"}
    assert all(not row.figures for row in found.rows)
    written = write_report(made.record, made.store, tmp_path / "out", formats=["html"])
    assert (tmp_path / "out" / "report.html").is_file() and written.table.column("MRR") == [None] * 4
