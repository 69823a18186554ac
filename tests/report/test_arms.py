"""Nuisance settings are chosen by validation alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from report.synthetic_study import FILE, Made, make_study

from pmd_ray.report.arms import choose, tried
from pmd_ray.report.contents import contents
from pmd_ray.report.lines import Chain, chains_of

TUNED = FILE + "roles: {nuisance: {optimiser.lr: [1.0e-5, 1.0e-4]}}\n"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_study(tmp_path_factory.mktemp("tuned"), file=TUNED, triples=20)


def chains(made: Made, missing: Callable[[str], str | None] = lambda key: None) -> list[Chain]:
    return [chain for chain in chains_of(made.record, missing) if chain.variant == "direct"]


def test_the_better_validation_mrr_wins(tuned: Made) -> None:
    low, high = chains(tuned)
    assert (low.arm, high.arm) == ("optimiser.lr=1e-05", "optimiser.lr=0.0001")
    for better in (low, high):
        good = set(better.last.keys.values())
        arms = choose([low, high], lambda key, good=good: 0.5 if key in good else 0.4)  # type: ignore[misc]
        assert [arm.chain.arm for arm in arms if arm.chosen] == [better.arm]
        assert sorted(arm.valid_mrr or 0.0 for arm in arms) == pytest.approx([0.4, 0.5])


def test_only_the_last_grade_is_asked(tuned: Made) -> None:
    last = {key for chain in chains(tuned) for key in chain.last.keys.values()}
    asked: list[str] = []
    choose(chains(tuned), lambda key: asked.append(key) or 0.5)  # type: ignore[func-returns-value]
    assert set(asked) == last


def test_a_mean_over_fewer_seeds_is_no_rival(tuned: Made) -> None:
    gone = next(iter(chains(tuned)[0].last.keys.values()))
    low, high = chains(tuned, lambda key: "failed (nan)" if key == gone else None)
    arms = choose([low, high], lambda key: 0.9 if key in low.last.keys.values() else 0.1)
    assert [arm.chain.arm for arm in arms if arm.chosen] == [high.arm]


def test_equal_or_unknown_validation_leaves_the_first(tuned: Made) -> None:
    for value in (0.5, None):
        arms = choose(chains(tuned), lambda key, value=value: value)  # type: ignore[misc]
        assert [arm.chosen for arm in arms] == [True, False]


def test_the_report_tells_what_was_tried(tuned: Made) -> None:
    found = contents(tuned.record, tuned.store)
    assert tried(tuned.record) == 2
    assert len(found.arms) == 8 and len(found.chains) == 4
    for arm in found.arms:
        mean = sum(found.evidence.valid_mrr(key) or 0.0 for key in arm.chain.last.keys.values()) / 3
        assert arm.valid_mrr == pytest.approx(mean, rel=1e-15)
    rows = {row.variant: row for row in found.rows}
    assert all(row.line and row.line.arm == found.chains[name].arm for name, row in rows.items())
