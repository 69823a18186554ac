"""The value against what it costs, and the best so far against what was spent: computed before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pmd_ray.report.search_plots import Spot, name_of
from pmd_ray.report.search_sharing import finished_keys
from pmd_ray.report.search_trials import Round, value_of
from pmd_ray.report.sheet import Cell, Sheet, sheet
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState


@dataclass(frozen=True, kw_only=True)
class Front:
    """The value against one cost."""

    cost: str
    spots: tuple[Spot, ...]
    """By cost."""
    front: tuple[Spot, ...]
    """Those that no other trial beats in both; by cost."""


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The best so far of one round, after each of its trials that is done."""

    round: str
    trials: tuple[float, ...]
    """Trials that had ended with each of its own, of all rounds and states."""
    hours: tuple[float, ...]
    """What the search had spent until then, each stage once; empty where not known."""
    values: tuple[float, ...]
    """Of each trial."""
    best: tuple[float, ...]


def fronts(rounds: Iterable[Round], *, gpu: bool) -> list[Front]:
    """Value against parameters, latency and training cost of all whole chains; those that vary."""
    trials = [trial for one in rounds if one.whole for trial in one.ranked]
    costs = {
        "parameters, millions": {t.number: t.parameters / 1e6 for t in trials if t.parameters is not None},
        "latency, ms": {t.number: t.latency_ms for t in trials if t.latency_ms is not None},
        f"training, {'GPU' if gpu else 'CPU'}-hours": {t.number: t.seconds / 3600 for t in trials if t.seconds},
    }
    return [_front(name, trials, by_trial) for name, by_trial in costs.items() if len(set(by_trial.values())) > 1]


def incumbents(record: SearchRecord, rounds: Iterable[Round], costs: Mapping[str, float]) -> list[Incumbent]:
    """The best so far of each round, in the order in which trials ended.

    Args:
        costs: Hours by stage key; a stage is paid by the first trial that ended with it.
    """
    over = [trial for trial in record.trials if trial.state is not TrialState.RUNNING]
    ended = sorted(over, key=lambda trial: (trial.told is None, trial.told or 0, trial.number))
    hours = _spent(ended, costs)
    return [_incumbent(one, ended, hours) for one in rounds if one.ranked]


def _front(cost: str, trials: Iterable[TrialRecord], by_trial: Mapping[int, float]) -> Front:
    having = [trial for trial in trials if trial.number in by_trial]
    having.sort(key=lambda trial: (by_trial[trial.number], -value_of(trial), trial.number))
    spots = [Spot(trial=t.number, x=by_trial[t.number], value=value_of(t), name=name_of(t)) for t in having]
    front: list[Spot] = []
    for spot in spots:
        if not front or spot.value > front[-1].value:
            front.append(spot)
    return Front(cost=cost, spots=tuple(spots), front=tuple(front))


def _incumbent(one: Round, ended: Sequence[TrialRecord], hours: Mapping[int, float]) -> Incumbent:
    mine = {trial.number for trial in one.ranked}
    places = {trial.number: place for place, trial in enumerate(ended, 1)}
    trials = [trial for trial in ended if trial.number in mine]
    values = [value_of(trial) for trial in trials]
    known = all(trial.number in hours for trial in trials)
    return Incumbent(
        round=one.title,
        trials=tuple(float(places[trial.number]) for trial in trials),
        hours=tuple(hours[trial.number] for trial in trials) if known else (),
        values=tuple(values),
        best=tuple(max(values[: place + 1]) for place in range(len(values))),
    )


def _spent(ended: Iterable[TrialRecord], costs: Mapping[str, float]) -> dict[int, float]:
    """By trial: hours of all distinct stages that were finished when it ended; empty where a cost is not known."""
    paid: set[str] = set()
    total = 0.0
    spent: dict[int, float] = {}
    for trial in ended:
        fresh = [key for key in finished_keys(trial) if key not in paid]
        if any(key not in costs for key in fresh):
            return {}
        total += sum(costs[key] for key in fresh)
        paid |= set(fresh)
        spent[trial.number] = total
    return spent


def pareto_sheet(found: Iterable[Front]) -> Sheet:
    """The trials on each front, cheapest first."""
    columns = ("cost", "trial", "origin", "at", "value")
    rows: list[dict[str, Cell]] = [
        {"cost": one.cost, "trial": spot.trial, "origin": spot.name, "at": spot.x, "value": spot.value}
        for one in found
        for spot in one.front
    ]
    return sheet("pareto", columns, rows, texts=("cost", "origin"))
