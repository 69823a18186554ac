"""The log of a search: what is asked and told is in the store at once, in order, and budgets end it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.run.search.log import SearchLog, earlier_searches
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search import Choice, SearchBudget, SearchConfig, SettingSpace, SpaceConfig
from pmd_ray.spec.search_reading import read_stored
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState
from pmd_ray.spec.study_record import DatasetRecord, StageUse
from pmd_ray.store.store import Store


def record(storage: str, budget: SearchBudget | None = None, name: str = "small") -> SearchRecord:
    space = SpaceConfig(settings={"optimiser.lr": SettingSpace(values=Choice(choices=(1e-4, 2e-4)))})
    search = SearchConfig(
        name=name, drafts=({"layers": [2, 1]},), space=space, budget=budget or SearchBudget(trials=20)
    )
    graph = DatasetRecord(
        name="tiny", source="tiny", fingerprint="f" * 64, entities=9, relations=2, train=20, valid=4, test=4
    )
    return SearchRecord(
        search=search,
        file="small.yaml",
        storage=storage,
        device="cpu",
        dataset=graph,
        encoders={"scratch": "e" * 64},
        created="2026-11-22T12:00:00+00:00",
        command="pmd search small.yaml",
    )


def trial(number: int, state: TrialState = TrialState.RUNNING, value: float | None = None) -> TrialRecord:
    use = StageUse(grade="1", layers=1, mask_rate=0.0, key=f"{number:064x}", teacher=None, teacher_key=None)
    return TrialRecord(
        number=number,
        round="chain",
        origin="sampled",
        layers=(2, 1),
        mask_rates=(0.0,),
        stages=(use,),
        state=state,
        value=value,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def test_an_ask_and_a_tell_are_in_the_store_when_they_return(store: Store) -> None:
    log = SearchLog(record(store.location), store)
    log.asked(trial(log.next_number()))
    read = read_stored(store.study(log.record.id), log.record.id, where="here")
    assert read is not None and [one.state for one in read.trials] == [TrialState.RUNNING]
    log.told(trial(0, TrialState.DONE, 0.5))
    read = read_stored(store.study(log.record.id), log.record.id, where="here")
    assert read is not None and read.trials[0].value == 0.5 and read.trials[0].ended is not None
    assert f"{0:064x}" in store.references(), "the garbage collection leaves what a search refers to"


def test_a_search_that_goes_on_counts_on_and_keeps_the_order(store: Store) -> None:
    log = SearchLog(record(store.location), store)
    log.asked(trial(0))
    log.asked(trial(1))
    log.told(trial(1, TrialState.DONE, 0.4).model_copy(update={"asked": 1}))
    again = read_stored(store.study(log.record.id), log.record.id, where="here")
    assert again is not None
    later = SearchLog(again, store)
    assert later.next_number() == 2
    later.asked(again.trials[0])  # asked again: keeps its place
    later.asked(trial(2))
    later.told(trial(0, TrialState.PRUNED).model_copy(update={"asked": 0}))
    assert [(one.asked, one.told) for one in later.records("chain")] == [(0, 4), (1, 2), (3, None)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ask", "tell"]), max_size=30), st.integers(1, 12))
def test_places_are_never_given_twice_and_the_limit_holds(steps: list[str], limit: int) -> None:
    """Whatever the order of asks and tells; the store is left out: its part is tested above."""
    log = SearchLog(record("nowhere"), _Nowhere())  # type: ignore[arg-type]
    log.begin_round("chain", trials=limit)
    running: list[TrialRecord] = []
    for step in steps:
        if step == "ask" and log.may_ask():
            number = log.next_number()
            log.asked(trial(number))
            running += [one for one in log.records("chain") if one.number == number]
        elif step == "tell" and running:
            log.told(running.pop(0).model_copy(update={"state": TrialState.DONE, "value": 0.1}))
    trials = log.records("chain")
    places = [one.asked for one in trials] + [one.told for one in trials if one.told is not None]
    assert sorted(places) == list(range(len(places)))
    assert len(trials) <= limit and [one.number for one in trials] == list(range(len(trials)))


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (SearchBudget(hours=1.0), "budget of 1 hours"),
        (SearchBudget(stages=3), "budget of 3 stages"),
    ],
)
def test_a_budget_that_is_used_up_ends_the_search_and_says_so(budget: SearchBudget, expected: str) -> None:
    time = [0.0]
    log = SearchLog(record("nowhere", budget), _Nowhere(), trained=lambda: 3, clock=lambda: time[0])  # type: ignore[arg-type]
    log.begin_round("chain", trials=None)
    assert log.may_ask() is (budget.stages is None)
    time[0] = 3601.0
    assert not log.may_ask()
    assert expected in (log.record.stopped or "")
    log.go_on()
    assert log.record.stopped is None


def test_time_of_earlier_runs_counts(store: Store) -> None:
    time = [0.0]
    first = SearchLog(record(store.location, SearchBudget(hours=1.0)), store, clock=lambda: time[0])
    time[0] = 3000.0
    first.finish()
    again = read_stored(store.study(first.record.id), first.record.id, where="here")
    assert again is not None and again.seconds == pytest.approx(3000.0)
    later = SearchLog(again, store, clock=lambda: time[0])
    assert later.may_ask()
    time[0] = 3700.0
    assert not later.may_ask()


def test_where_all_of_the_first_trials_fail_the_search_ends_and_says_why() -> None:
    log = SearchLog(record("nowhere"), _Nowhere())  # type: ignore[arg-type]
    for number in range(3):
        assert log.may_ask()
        log.asked(trial(number))
        log.told(trial(number, TrialState.FAILED).model_copy(update={"reason": "grade '1' ran out of ink"}))
    assert not log.may_ask() and "ran out of ink" in (log.record.stopped or "")


def test_one_trial_that_was_done_keeps_it_going() -> None:
    log = SearchLog(record("nowhere"), _Nowhere())  # type: ignore[arg-type]
    for number, state in enumerate([TrialState.DONE, *[TrialState.FAILED] * 5]):
        log.asked(trial(number))
        log.told(trial(number, state, 0.2 if state is TrialState.DONE else None))
    assert log.may_ask()


def test_a_record_that_cannot_be_read_is_told_with_the_way_out(store: Store) -> None:
    name = record(store.location).id
    store.register(name, '{"format": 1}')
    with pytest.raises(UserError, match="give the search another name"):
        read_stored(store.study(name), name, where="here")
    assert read_stored(store.study("search-other"), "search-other", where="here") is None


def test_warm_trials_come_from_searches_with_the_same_question(store: Store) -> None:
    mine = record(store.location)
    done = trial(0, TrialState.DONE, 0.4)
    outside = trial(1, TrialState.DONE, 0.5).model_copy(update={"inside": False})
    other = record(store.location, name="other").model_copy(update={"trials": (done, outside, trial(2))})
    graph = other.dataset.model_copy(update={"fingerprint": "a" * 64})
    elsewhere = other.model_copy(update={"dataset": graph, "search": other.search.model_copy(update={"name": "far"})})
    for one in (mine, other, elsewhere):
        store.register(one.id, one.model_dump_json())
    store.register("search-broken", "{}")
    assert earlier_searches(store, mine) == [done]


class _Nowhere:
    """A store that forgets: `register` is all that a log asks of it."""

    def register(self, name: str, record_json: str) -> None:
        SearchRecord.model_validate_json(record_json)
