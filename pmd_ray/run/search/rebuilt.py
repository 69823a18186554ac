"""The Optuna study of a round, rebuilt in memory from its records: the store is the one truth, Optuna keeps nothing.

A record's `system` holds what a study needs beyond the point: `optuna`, what the sampler noted on the trial; `study`,
what it noted on the study while it drew; `repeats`, points that it drew for this trial and that had been tried already.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, FrozenTrial, Trial, create_trial
from optuna.trial import TrialState as OptunaState

from pmd_ray.run.search.samplers import sampler_of
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search import StrategyConfig
from pmd_ray.spec.search_record import TrialRecord, TrialState

Draw = Callable[[Any], dict[str, Any]]
"""Draws a point through Optuna's `suggest_*`."""
NUMBER = "trial"
"""User attribute of Optuna's trials: our number."""
STATES = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.DONE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}
EARLIER_GENERATION = {"NSGAIISampler:generation": 0}
"""NSGA-II breeds only from trials that carry a generation; those of earlier searches are its first."""


@dataclass(frozen=True)
class Ending:
    """How a trial stands, in Optuna's words."""

    state: OptunaState
    values: list[float] | None = None
    intermediate: Mapping[int, float] | None = None


def study_of(
    config: StrategyConfig, seed: int, records: Sequence[TrialRecord], warm: Sequence[TrialRecord] = ()
) -> optuna.Study:
    """The study as it stood when the last of the records was written; those that still run are running in it.

    Args:
        config: Sampler and objectives.
        seed: Of the search.
        records: Of one round.
        warm: Of earlier searches, finished, with this search's distributions (see `fitting`).
    """
    sampler = sampler_of(config, seed=seed, number=0)
    directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * (len(config.objectives) - 1)]
    study = optuna.create_study(storage=InMemoryStorage(), sampler=sampler, directions=directions)
    for record in warm:
        _add(study, record.params, record.distributions, EARLIER_GENERATION, ending(config, record))
    by_number = {record.number: record for record in records}
    for _, record in sorted(by_number.items()):
        if record.inside:
            _add_repeats(study, config, record, by_number)
            note_on_study(study, record.system.get("study", {}))
            _add(
                study,
                record.params,
                record.distributions,
                record.system.get("optuna", {}),
                ending(config, record),
                {NUMBER: record.number},
            )
    return study


def ending(config: StrategyConfig, record: TrialRecord) -> Ending:
    """What Optuna is told of a trial. Of several objectives it takes no values on the way."""
    several = len(config.objectives) > 1
    steps: dict[int, float] = {}
    for report in () if several else record.reports:
        steps.setdefault(report.epoch, report.value)
    values: list[float] | None = None
    if record.state is TrialState.DONE:
        values = list(record.values) if several else [record.value or 0.0]
    elif record.state is TrialState.PRUNED and steps:
        values = [steps[max(steps)]]
    return Ending(STATES[record.state], values, steps)


def tell(study: optuna.Study, trial: Trial, end: Ending) -> None:
    """Tell a live trial of its end, so that it equals the rebuilt one."""
    for step, value in (end.intermediate or {}).items():
        trial.report(value, step)
    # Of a pruned trial Optuna takes the last value on the way by itself.
    study.tell(trial, end.values if end.state is OptunaState.COMPLETE else None, state=end.state)


def repeat_of(trial: FrozenTrial, twin: TrialRecord) -> dict[str, Any]:
    """What a record keeps of a draw that repeated a trial; the twin's end is left out while it runs."""
    return {
        "params": trial.params,
        "distributions": distributions_of(trial),
        "system": trial.system_attrs,
        "twin": None if twin.state is TrialState.RUNNING else twin.number,
    }


def repeated(config: StrategyConfig, twin: TrialRecord | None) -> Ending:
    """The end of a draw that repeats a trial: the twin's, or none of any use while that still runs."""
    if twin is None or twin.state is TrialState.RUNNING:
        return Ending(OptunaState.FAIL)
    return ending(config, twin)


def asked(study: optuna.Study, draw: Draw, sampler: BaseSampler) -> tuple[optuna.Trial, dict[str, Any]]:
    """Ask for a trial and draw its point."""
    study.sampler = sampler
    trial = study.ask()
    return trial, draw(trial)


def reopened(study: optuna.Study, number: int) -> Trial:
    """A running trial of a rebuilt study, to be told of its end."""
    running = study.get_trials(deepcopy=False, states=(OptunaState.RUNNING,))
    (found,) = (trial for trial in running if trial.user_attrs.get(NUMBER) == number)
    # A Trial samples while it is made; this one has been drawn, and random sampling does nothing then.
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    return Trial(study, found._trial_id)


def distributions_of(trial: FrozenTrial) -> dict[str, str]:
    """Of its parameters, as text."""
    return {name: distribution_to_json(found) for name, found in trial.distributions.items()}


def notes_on_study(study: optuna.Study) -> dict[str, Any]:
    """What samplers have noted on the study (NSGA-II: the parents of each generation, by Optuna's numbers)."""
    return dict(study._storage.get_study_system_attrs(study._study_id))


def note_on_study(study: optuna.Study, notes: Mapping[str, Any]) -> None:
    """Note it again."""
    for name, value in notes.items():
        study._storage.set_study_system_attr(study._study_id, name, value)


def fitting(draw: Draw, warm: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those of earlier trials whose points this space can draw, with its distributions."""
    found = []
    for record in warm:
        trial = FixedTrial(record.params)
        try:
            with warnings.catch_warnings():
                # Optuna only warns of a value out of range.
                warnings.simplefilter("error")
                draw(trial)
        except (ValueError, KeyError, UserWarning, UserError):
            continue
        if record.state is TrialState.DONE and trial.params.keys() == record.params.keys():
            texts = {name: distribution_to_json(one) for name, one in trial.distributions.items()}
            found.append(record.model_copy(update={"distributions": texts}))
    return found


def replayed(
    records: Sequence[TrialRecord],
    *,
    config: StrategyConfig,
    seed: int,
    draw: Draw,
    warm: Sequence[TrialRecord] = (),
) -> dict[int, dict[str, Any]]:
    """Derive every sampled point of a round again, from the order of asks and tells that the records give.

    Returns:
        The parameters of each trial that was drawn, by number; they equal the record's unless something was changed.
    """
    found = {}
    by_number = {record.number: record for record in records}
    for record in records:
        if not record.inside or "fixed_params" in record.system.get("optuna", {}):
            continue
        before = [_as_of(one, record.asked) for one in records if one.asked < record.asked]
        study = study_of(config, seed, before, warm)
        repeats = record.system.get("repeats", ())
        for attempt in range(len(repeats) + 1):
            trial, _ = asked(study, draw, sampler_of(config, seed=seed, number=record.number, attempt=attempt))
            if attempt < len(repeats):
                tell(study, trial, repeated(config, _twin(repeats[attempt], record, by_number)))
            else:
                found[record.number] = trial.params
    return found


def _add_repeats(
    study: optuna.Study,
    config: StrategyConfig,
    record: TrialRecord,
    by_number: Mapping[int, TrialRecord],
) -> None:
    for one in record.system.get("repeats", ()):
        twin = _twin(one, record, by_number)
        _add(study, one["params"], one["distributions"], one["system"], repeated(config, twin))


def _twin(repeat: Mapping[str, Any], record: TrialRecord, by_number: Mapping[int, TrialRecord]) -> TrialRecord | None:
    """The trial that a draw for a record repeated, as it stood then; None where that ran."""
    return None if repeat["twin"] is None else _as_of(by_number[repeat["twin"]], record.asked)


def _as_of(record: TrialRecord, place: int) -> TrialRecord:
    """A trial as it stood at a place in the order of asks and tells."""
    if record.told is not None and record.told < place:
        return record
    failed = any(one.told < place < one.again for one in record.earlier)
    state = TrialState.FAILED if failed else TrialState.RUNNING
    return record.model_copy(update={"state": state, "reports": (), "value": None, "values": ()})


def _add(
    study: optuna.Study,
    params: Mapping[str, Any],
    distributions: Mapping[str, str],
    system: Mapping[str, Any],
    end: Ending,
    user: Mapping[str, Any] | None = None,
) -> None:
    study.add_trial(
        create_trial(
            state=end.state,
            values=None if end.values is None or not all(map(isfinite, end.values)) else end.values,
            params=dict(params),
            distributions={name: json_to_distribution(text) for name, text in distributions.items()},
            system_attrs=dict(system),
            user_attrs=dict(user or {}),
            intermediate_values=dict(end.intermediate or {}),
        )
    )
