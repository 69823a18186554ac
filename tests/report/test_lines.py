"""Lines: ids follow the stages, roles follow the chain, and a seed counts only when nothing of it is missing."""

from __future__ import annotations

from pathlib import Path

from report.synthetic_study import FILE, Made, make_study

from pmd_ray.report.contents import Contents
from pmd_ray.report.lines import Role, Slot, chains_of
from pmd_ray.report.summary import missing_text
from pmd_ray.spec.keys import digest


def nothing_is_missing(key: str) -> None:
    """Every stage has figures."""


def test_an_id_is_the_digest_of_the_sorted_keys(found: Contents, made: Made) -> None:
    line = found.chains["no_mgfd"].last
    keys = sorted(made.key("no_mgfd", "3", seed) for seed in (0, 1, 2))
    assert line.id == digest(keys)[:8]


def test_equal_stages_have_equal_ids_whatever_chains_call_them(found: Contents) -> None:
    teachers = {chain.lines[0].id for chain in found.chains.values()}
    students = {chain.last.id for chain in found.chains.values()}
    assert (len(teachers), len(students)) == (1, 4)


def test_roles_and_places(found: Contents) -> None:
    lines = found.chains["baseline"].lines
    assert [(line.grade, line.role, line.slot) for line in lines] == [
        ("teacher", Role.TEACHER, Slot.FIRST),
        ("12", Role.STUDENT, Slot.LATER),
        ("6", Role.STUDENT, Slot.LATER),
        ("6-alone", Role.ALONE, Slot.CONTROL),
        ("3", Role.STUDENT, Slot.LATER),
        ("3-alone", Role.ALONE, Slot.CONTROL),
    ]
    assert found.chains["baseline"].last.grade == "3"


def test_a_grade_that_is_told_to_have_no_teacher_is_none_either(tmp_path: Path) -> None:
    made = make_study(tmp_path, file=FILE.replace("direct: {layers: [12, 3]}", "direct: {grades.*.teacher: none}"))
    chains = {chain.variant: chain for chain in chains_of(made.record, nothing_is_missing)}
    roles = [(line.grade, line.role, line.slot) for line in chains["direct"].lines]
    assert roles[0] == ("teacher", Role.TEACHER, Slot.FIRST)
    assert roles[1:] == [(str(n), Role.ALONE, Slot.LATER) for n in (12, 6, 3)]


def test_the_last_grade_of_a_depth_is_found(found: Contents) -> None:
    chain = found.chains["baseline"]
    assert chain.find(Slot.LATER, 12) is chain.lines[1]
    assert chain.find(Slot.FIRST, 12) is chain.lines[0]
    assert chain.find(Slot.LATER, 9) is None


def test_a_seed_with_a_missing_stage_does_not_count_and_is_named(made: Made) -> None:
    gone = made.key("no_mgfd", "6", 1)
    chains = chains_of(made.record, lambda key: "failed (oom)" if key == gone else None)
    chain = next(chain for chain in chains if chain.variant == "no_mgfd")
    assert {line.seeds for line in chain.lines} == {(0, 2)}
    assert chain.lines[0].counted_keys == (made.key("no_mgfd", "teacher", 0), made.key("no_mgfd", "teacher", 2))
    assert missing_text(chain) == "seed 1: grade 6 failed (oom)"
    assert {c.variant: c.seeds for c in chains if c is not chain} == {
        name: (0, 1, 2) for name in ("baseline", "fixed_10", "direct")
    }


def test_an_id_does_not_change_while_seeds_are_missing(made: Made, found: Contents) -> None:
    chains = chains_of(made.record, lambda key: "not trained")
    assert [line.id for chain in chains for line in chain.lines] == [
        line.id for chain in found.chains.values() for line in chain.lines
    ]
