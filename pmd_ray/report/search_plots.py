"""The value against one parameter, and against alpha and beta: computed before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pmd_ray.report.search_ranges import is_number, ranges_of
from pmd_ray.report.search_trials import Round, parameters_of, params_of, value_of
from pmd_ray.spec.search_record import DEFAULT, SAMPLED, TrialRecord

PANELS_AT_MOST = 12
LABELLED = 6
"""Points tried first that carry their name in a figure, best first."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One trial in a figure."""

    trial: int
    x: float
    value: float
    name: str = ""
    """Of a point that was tried first."""
    inside: bool = True


@dataclass(frozen=True, kw_only=True)
class Group:
    """Trials whose values can be compared."""

    name: str
    spots: tuple[Spot, ...]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The value against one parameter."""

    parameter: str
    groups: tuple[Group, ...]
    words: tuple[str, ...] = ()
    """Names of x = 0, 1, ... where the parameter is no number."""
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class WeightMap:
    """Values over alpha and beta, worst first."""

    title: str
    spots: tuple[tuple[float, float, float], ...]
    """Alpha, beta, value."""
    best: int
    """Trial number of the best."""


def slices(rounds: Sequence[Round]) -> list[Slice]:
    """Every parameter that took two values or more."""
    drawn = tuple(trial for one in rounds for trial in one.ranked)
    found = (_slice(rounds, drawn, parameter) for parameter in parameters_of(drawn))
    return [one for one in found if one is not None][:PANELS_AT_MOST]


def weight_maps(rounds: Iterable[Round]) -> list[WeightMap]:
    """Alpha and beta of each round, and of each student where students differ; those where both vary."""
    return [found for one in rounds for found in _maps(one)][:PANELS_AT_MOST]


def labelled(spots: Iterable[Spot]) -> set[int]:
    """Numbers of the trials that carry their names: the default and the paper's, then the best others."""
    named = [spot for spot in spots if spot.name]
    first = (DEFAULT, "paper")
    named.sort(key=lambda spot: (first.index(spot.name) if spot.name in first else len(first), -spot.value))
    return {spot.trial for spot in named[:LABELLED]}


def name_of(trial: TrialRecord) -> str:
    """What an enqueued point is called; empty for a drawn one."""
    return "" if trial.origin == SAMPLED else trial.origin


def _slice(rounds: Iterable[Round], drawn: Sequence[TrialRecord], parameter: str) -> Slice | None:
    values = [params[parameter] for trial in drawn if parameter in (params := params_of(trial))]
    if len(set(map(str, values))) < 2:
        return None
    found = ranges_of(drawn, parameter)
    numeric = all(map(is_number, values))
    words = () if numeric else _words(found.choices if found else (), values)
    groups = []
    for one in rounds:
        spots = tuple(
            Spot(
                trial=trial.number,
                x=float(params[parameter]) if numeric else float(words.index(str(params[parameter]))),
                value=value_of(trial),
                name=name_of(trial),
                inside=trial.inside,
            )
            for trial in reversed(one.ranked)
            if parameter in (params := params_of(trial))
        )
        groups += [Group(name=one.title, spots=spots)] if spots else []
    log = numeric and found is not None and found.log and min(values) > 0
    return Slice(parameter=parameter, groups=tuple(groups), words=words, log=log)


def _words(choices: Sequence[object], values: Sequence[object]) -> tuple[str, ...]:
    """Those that occur, in the order of the choices."""
    there = set(map(str, values))
    return tuple(dict.fromkeys(word for word in map(str, (*choices, *values)) if word in there))


def _maps(one: Round) -> Iterator[WeightMap]:
    kept: list[int] = []
    for place in range(max((len(trial.alphas) for trial in one.ranked), default=0)):
        having = [t for t in reversed(one.ranked) if min(len(t.alphas), len(t.betas)) > place]
        pairs = [(trial.alphas[place], trial.betas[place]) for trial in having]
        if any(all(t.alphas[place] == t.alphas[k] and t.betas[place] == t.betas[k] for t in having) for k in kept):
            continue  # the same weights for these students
        if len({alpha for alpha, _ in pairs}) > 1 and len({beta for _, beta in pairs}) > 1:
            title = f"{one.title}, student {place + 1}" if kept else one.title
            kept.append(place)
            spots = tuple((*pair, value_of(trial)) for pair, trial in zip(pairs, having, strict=True))
            yield WeightMap(title=title, spots=spots, best=having[-1].number)
