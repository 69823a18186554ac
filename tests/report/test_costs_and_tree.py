"""Costs count a shared stage once, failures name who waits, the tree shows what is shared."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.synthetic_study import Made, make_study

from pmd_ray.report.contents import contents
from pmd_ray.report.costs import cost_sheet, cost_shown, lost_seconds
from pmd_ray.report.lines import Role
from pmd_ray.spec.attempt import Attempt, AttemptState, FailureKind


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One stage ran out of memory and was trained at the second attempt; one never was; one is cut short."""
    made = make_study(
        tmp_path_factory.mktemp("broken"),
        without=lambda run, use: (run.variant, use.grade, run.seed) == ("fixed_10", "6", 1) or use.key[:1] == "!",
        triples=20,
    )
    again = made.store.begin(made.key("direct", "3", 0), study="synthetic")
    again.update(epochs_started=2, epochs_finished=1)
    again.end(AttemptState.FAILED, FailureKind.OUT_OF_MEMORY, MemoryError("<b>17 GB</b>"), seconds=100.0)
    made.store.begin(made.key("direct", "3", 0), study="synthetic").end(
        AttemptState.DONE, seconds=50.0, gpu_seconds=36.0, peak_memory_bytes=2_000_000_000
    )
    never = made.store.begin(made.key("fixed_10", "6", 1), study="synthetic")
    never.end(AttemptState.FAILED, FailureKind.NOT_FINITE, FloatingPointError("loss is nan"), seconds=7.0)
    cut = Path(made.store.fetch(made.key("no_mgfd", "3", 2))) / "test_ranks.parquet"
    cut.write_bytes(cut.read_bytes()[:-50])
    return made


def test_costs_of_a_row(broken: Made) -> None:
    found = contents(broken.record, broken.store)
    row = next(row for row in found.costs if (row.line.variant, row.line.grade) == ("direct", "3"))
    assert (row.stages, row.attempts, row.lost_seconds) == (3, 2, 50.0)
    assert row.seconds == 43.0 and row.cpu_hours == pytest.approx(3 * 86 / 3600)
    assert row.gpu_hours == pytest.approx(0.01) and row.peak_memory_bytes == 2_000_000_000
    assert row.latency_ms == (5.0, 180.0) and row.latency_device == "cpu-fp32"
    teacher = next(row for row in found.costs if (row.line.variant, row.line.grade) == ("direct", "teacher"))
    assert teacher.shared_with == ("baseline", "no_mgfd", "fixed_10")


def test_the_bill_counts_each_stage_once(broken: Made) -> None:
    found = contents(broken.record, broken.store)
    seconds = sum(80.0 + 2 * broken.uses[key][1].layers for key in found.evidence.stages)
    assert found.bill.cpu_hours == pytest.approx(seconds / 3600)
    assert (found.bill.naive, found.bill.distinct, found.bill.there) == (63, 39, 37)
    assert (found.bill.attempts, found.bill.lost_seconds) == (3, 57.0)


def test_old_artifacts_without_costs_have_empty_cells(tmp_path: Path) -> None:
    made = make_study(tmp_path, triples=9)
    for key in made.record.keys:
        folder = made.store.fetch(key)
        manifest = made.store.manifest(key)
        assert manifest is not None
        kept = tuple(entry for entry in manifest.files if entry.path != "costs.json")
        (folder / "manifest.json").write_text(manifest.model_copy(update={"files": kept}).model_dump_json())
        (folder / "costs.json").unlink()
    rows = contents(made.record, made.store).costs
    sheet = cost_sheet(rows)
    assert set(sheet.column("latency_ms_1")) == set(sheet.column("peak_memory_bytes")) == {None}
    assert set(sheet.column("attempts")) == {None} and None not in sheet.column("seconds")
    assert "ms, batch 1" not in cost_shown(rows).columns


@pytest.mark.parametrize(
    ("state", "started", "finished", "lost"),
    [
        (AttemptState.FAILED, 4, 3, 10.0),
        (AttemptState.LOST, 0, 0, 40.0),
        (AttemptState.LOST, 2, 2, 0.0),
        (AttemptState.DONE, 3, 3, 0.0),
        (AttemptState.PRUNED, 3, 1, 0.0),
    ],
)
def test_what_an_attempt_loses(state: AttemptState, started: int, finished: int, lost: float) -> None:
    attempt = Attempt(
        id="1",
        key="a" * 64,
        state=state,
        host="h",
        pid=1,
        started="2024",
        seconds=40.0,
        epochs_started=started,
        epochs_finished=finished,
    )
    assert lost_seconds(attempt) == lost


def test_failures_name_their_kind_their_users_and_whether_they_are_mended(broken: Made) -> None:
    found = {(f.what, f.mended): f for f in contents(broken.record, broken.store).failures}
    assert set(found) == {("failed (oom)", True), ("failed (nan)", False), ("artifact", False)}
    oom, nan = found["failed (oom)", True], found["failed (nan)", False]
    assert oom.users == ("direct, grade 3",) and oom.seed == 0 and oom.epochs == 1
    assert oom.message == "MemoryError: <b>17 GB</b>" and "MemoryError" in oom.traceback
    assert nan.users == ("fixed_10, grade 6",) and nan.seed == 1
    assert "test_ranks.parquet" in found["artifact", False].message


def test_seeds_with_gaps_do_not_count(broken: Made) -> None:
    found = contents(broken.record, broken.store)
    assert {name: chain.seeds for name, chain in found.chains.items()} == {
        "baseline": (0, 1, 2),
        "no_mgfd": (0, 1),
        "fixed_10": (0, 2),
        "direct": (0, 1, 2),
    }
    row = next(row for row in found.rows if row.variant == "fixed_10")
    assert row.missing == "seed 1: grade 6 failed (nan)"


def test_the_tree_shows_what_is_shared(broken: Made) -> None:
    found = contents(broken.record, broken.store)
    teacher, *alone = found.tree
    assert (teacher.role, teacher.trained, teacher.seeds) == (Role.TEACHER, 3, 3)
    assert teacher.users == ("baseline", "no_mgfd", "fixed_10", "direct")
    assert [node.users for node in teacher.children] == [("baseline",), ("no_mgfd",), ("fixed_10",), ("direct",)]
    fixed = teacher.children[2].children[0]
    assert (fixed.layers, fixed.trained) == (6, 2)
    assert [(node.layers, node.role, len(node.users)) for node in alone] == [(6, Role.ALONE, 3), (3, Role.ALONE, 4)]
    assert teacher.id == found.chains["direct"].lines[0].id
