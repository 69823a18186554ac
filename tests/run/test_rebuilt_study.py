"""A search goes on from its records as if it had never stopped, and a parallel one can be derived again."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from run.memory_trials import (
    ROUND,
    SAMPLERS,
    MemoryTrials,
    describe,
    draw,
    draw_few,
    end,
    named,
    params_of,
    run_one,
    search_of,
    states,
    until_finished,
    value_of,
)

from pmd_ray.run.search.rebuilt import fitting, replayed, study_of
from pmd_ray.spec.search import StrategyConfig
from pmd_ray.spec.search_record import TrialRecord, TrialState

pytestmark = pytest.mark.whole  # whole searches, again and again

QUEUE = (
    named("default", {"layers": "6-3", "mask.first": 0.1, "epochs": 2, "lr": 1e-4, "beta": 0.2}),
    named("outside", None, {"mask_rates": [0.3, 0.1]}),
)
TRIALS = 25


def config_of(sampler: str, **more: Any) -> StrategyConfig:
    return StrategyConfig.model_validate({"sampler": sampler, "startup": 6, **more})


def undisturbed(config: StrategyConfig, *, limit: int = TRIALS, **more: Any) -> MemoryTrials:
    trials = MemoryTrials(limit=limit)
    until_finished(search_of(trials, config, **more), trials)
    return trials


def goes_on(whole: MemoryTrials, config: StrategyConfig, cut: int, *, between: bool, **more: Any) -> None:
    """Stop after `cut` trials (or after the next ask), go on from the records, and find the undisturbed ones."""
    trials = MemoryTrials(limit=whole.limit)
    first = search_of(trials, config, **more)
    for _ in range(cut):
        run_one(first, trials)
    if between:
        assert first.suggest("lost")["number"] == cut
    until_finished(search_of(trials, config, **more), trials)
    assert trials.texts == whole.texts


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "cmaes", "random"])
@pytest.mark.parametrize("between", [False, True])
def test_cut_and_rebuilt_equals_undisturbed(sampler: str, between: bool) -> None:
    config = config_of(sampler)
    whole = undisturbed(config, queue=QUEUE)
    assert len(params_of(whole)) == TRIALS
    assert {TrialState.DONE, TrialState.PRUNED, TrialState.FAILED} == set(states(whole))
    for cut in (*range(0, TRIALS, 4), 2, 11, 13):
        goes_on(whole, config, cut, between=between, queue=QUEUE)


def test_cut_and_rebuilt_gaussian_process() -> None:
    config = config_of("gp")
    whole = undisturbed(config, queue=QUEUE, limit=12)
    goes_on(whole, config, 9, between=True, queue=QUEUE)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "cmaes", "random"])
def test_draws_that_repeat_are_rebuilt_too(sampler: str) -> None:
    """12 points: the search ends when it has had them all, or 50 draws in a row bring nothing new."""
    config = config_of(sampler, startup=3)
    whole = undisturbed(config, draw=draw_few)
    assert any(record.system.get("repeats") for record in whole.records(ROUND))
    assert len({tuple(params.values()) for params in params_of(whole)}) == len(params_of(whole)) <= 12
    for cut in range(0, len(params_of(whole)), 3):
        goes_on(whole, config, cut, between=True, draw=draw_few)


def in_parallel(config: StrategyConfig, *, cuts: bool, limit: int = TRIALS, **more: Any) -> MemoryTrials:
    """Up to four trials at once, asked for and ended in a random order, now and then by a new process."""
    random, trials = Random(5), MemoryTrials(limit=limit)
    search, running = search_of(trials, config, **more), dict[str, TrialRecord]()
    asks = 0
    while True:
        if cuts and random.random() < 0.1:
            search, running = search_of(trials, config, **more), {}
        if len(running) < 4 and random.random() < 0.6:
            asked = search.suggest(f"t{asks}")
            if asked != "FINISHED":
                (record,) = (one for one in trials.records(ROUND) if one.number == asked["number"])
                running[f"t{asks}"] = record
                asks += 1
                continue
            if not running:
                return trials
        if running:
            trial_id = random.choice(sorted(running))
            end(search, trial_id, running.pop(trial_id))


@pytest.mark.parametrize(
    ("sampler", "space", "cuts"),
    [
        *((sampler, draw, cuts) for sampler in SAMPLERS for cuts in (False, True)),
        *((sampler, draw_few, True) for sampler in SAMPLERS if sampler != "gp"),
    ],
)
def test_a_parallel_search_is_replayed(sampler: str, cuts: bool, space: Any) -> None:
    config = config_of(sampler)
    queue = QUEUE if space is draw else ()
    limit = 12 if sampler == "gp" else TRIALS
    trials = in_parallel(config, cuts=cuts, limit=limit, draw=space, queue=queue)
    records = trials.records(ROUND)
    assert TrialState.RUNNING not in states(trials)
    again = replayed(records, config=config, seed=3, draw=space)
    assert again == {record.number: record.params for record in records if record.origin == "sampled"}
    assert len(again) >= (limit - len(queue) if space is draw else 6)


def test_replay_notices_another_order() -> None:
    config = config_of("tpe")
    records = in_parallel(config, cuts=False).records(ROUND)
    worse = [
        record.model_copy(update={"value": -(record.value or 0.0)}) if record.state is TrialState.DONE else record
        for record in records
    ]
    assert replayed(worse, config=config, seed=3, draw=draw) != {one.number: one.params for one in records}


def test_several_objectives() -> None:
    config = config_of("nsga2", objectives=["metric", "parameters", "cost"])
    whole = undisturbed(config)
    study = study_of(config, 3, whole.records(ROUND))
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    done = [record for record in whole.records(ROUND) if record.state is TrialState.DONE]
    first = done[0]
    assert first.values == (value_of(first.params), 1000 + first.number, 60.0)
    assert len(study.best_trials) >= 1
    goes_on(whole, config, 13, between=True)


def warm_record(params: dict[str, Any]) -> TrialRecord:
    record = describe(0, params, "sampled", None)
    return record.model_copy(update={"state": TrialState.DONE, "value": 0.4})


def test_warm_trials_that_fit_come_first() -> None:
    good = {"layers": "6-3", "mask.first": 0.1, "epochs": 2, "lr": 1e-4, "beta": 0.2}
    unread = {**good, "mask.first": 0.0}
    others = [
        {**good, "lr": 0.1},
        {**good, "layers": "12"},
        {**good, "temperature": 0.05},
        {name: value for name, value in good.items() if name != "epochs"},
        unread,
    ]
    warm = fitting(draw, [warm_record(params) for params in (good, *others)])
    assert [record.params for record in warm] == [good]
    trials = MemoryTrials(limit=12)
    search = search_of(trials, config_of("tpe"), warm=[warm_record(params) for params in (good, *others)])
    assert [trial.params for trial in search.study.trials] == [good]
    until_finished(search, trials)
    assert search.study.trials[0].value == 0.4


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", "cmaes"])
def test_warm_trials_steer(sampler: str) -> None:
    """With earlier trials enough, the first draws of a search are not those of one that knows nothing."""
    config = config_of(sampler)
    warm = [record for record in undisturbed(config_of("random"), seed=9).records(ROUND) if record.value is not None]
    cold_trials, warm_trials = MemoryTrials(limit=3), MemoryTrials(limit=3)
    until_finished(search_of(cold_trials, config), cold_trials)
    until_finished(search_of(warm_trials, config, warm=warm), warm_trials)
    assert params_of(cold_trials) != params_of(warm_trials)
    first = search_of(MemoryTrials(), config, warm=warm).study.trials
    assert len(first) == len(warm)
