"""Fronts and figures of a search: computed figures before anything is drawn."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from report.search_made import CPU_SECONDS, make_record

from pmd_ray.report.search_fronts import fronts, incumbents
from pmd_ray.report.search_parallel import BELOW, parallels
from pmd_ray.report.search_plots import labelled, slices, weight_maps
from pmd_ray.report.search_sharing import finished_keys
from pmd_ray.report.search_trials import Round, rounds_of
from pmd_ray.spec.search_record import TrialRecord, TrialState

RECORD = make_record()
ROUNDS = rounds_of(RECORD)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=2, max_size=12))
def test_a_front_holds_whom_nobody_beats(pairs: list[tuple[int, int]]) -> None:
    trials = tuple(
        TrialRecord(
            number=number, round="layers-2", origin="sampled", layers=(6, 2), mask_rates=(0.0,), stages=(),
            state=TrialState.DONE, value=value / 10, parameters=cost * 1_000_000,
        )
        for number, (cost, value) in enumerate(pairs)
    )  # fmt: skip
    found = fronts([Round(name="layers-2", trials=trials, whole=True)], gpu=False)
    beaten = {
        (cost, value)
        for cost, value in pairs
        if any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in pairs)
    }
    if len({cost for cost, _ in pairs}) == 1:
        assert found == []
    else:
        assert {(round(spot.x), round(spot.value * 10)) for spot in found[0].front} == set(pairs) - beaten


def test_the_incumbent_never_falls_and_each_stage_is_paid_once() -> None:
    keys = {key for trial in RECORD.trials for key in finished_keys(trial)}
    found = incumbents(RECORD, ROUNDS, dict.fromkeys(keys, CPU_SECONDS / 3600))
    for one, its in zip(found, ROUNDS, strict=True):
        assert list(one.best) == sorted(one.best) and one.best[-1] == max(one.values)
        assert list(one.hours) == sorted(one.hours) and len(one.values) == len(its.ranked)
    last = max(one.hours[-1] for one in found)
    shown = max(trial.number for one in ROUNDS for trial in one.ranked)
    paid = {key for trial in RECORD.trials if trial.number <= shown for key in finished_keys(trial)}
    assert abs(last - len(paid) * CPU_SECONDS / 3600) < 1e-9
    assert all(one.hours == () for one in incumbents(RECORD, ROUNDS, {}))


def test_slices_have_numbers_as_numbers_and_words_as_words() -> None:
    found = {one.parameter: one for one in slices(ROUNDS)}
    assert found["optimiser.lr"].log and not found["mask.first"].log
    assert found["layers"].words == ("6-3", "6-4-3", "6-2", "6-4-2", "6-5-3-2")
    outside = [spot for group in found["layers"].groups for spot in group.spots if not spot.inside]
    assert [spot.trial for spot in outside] == [3]
    assert sum(len(group.spots) for group in found["mask.ratio"].groups) < len(RECORD.trials) / 2


def test_parallel_axes_run_from_0_to_1_with_the_best_last() -> None:
    for one, its in zip(parallels(ROUNDS), ROUNDS, strict=True):
        heights = [height for line in one.lines for height in line]
        assert {BELOW, 0.0, 1.0} <= set(heights) and all(height == BELOW or 0 <= height <= 1 for height in heights)
        assert one.lines[-1][-1] == 1.0 and len(one.lines) == len(its.drawn)


def test_a_weight_map_for_students_that_share_their_weights() -> None:
    found = weight_maps(ROUNDS)
    assert [one.title for one in found] == ["3 layers", "2 layers"]
    assert [one.best for one in found] == [one.ranked[0].number for one in ROUNDS]


def test_the_default_and_the_papers_points_carry_their_names() -> None:
    (first, *_) = fronts(ROUNDS, gpu=False)
    assert {spot.name for spot in first.spots if spot.trial in labelled(first.spots)} == {
        "default",
        "paper",
        "masks 50/25",
    }
