"""A search's plan before anything is trained: rounds, stages shared and naive, cost, its confirmation, warnings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from pmd_ray.plan.cost import Measured
from pmd_ray.plan.identities import Identities
from pmd_ray.plan.rate import Rate
from pmd_ray.plan.search_cautions import SearchCircumstances, search_cautions
from pmd_ray.plan.search_draws import DRAWN_AT_MOST, DrawnRound, drawn_rounds, open_end
from pmd_ray.plan.search_studies import confirming_study, study_of_trials, tree_of_trials
from pmd_ray.plan.study_plan import HOUR, StudyPlan, make_plan
from pmd_ray.plan.tree import StageTree
from pmd_ray.spec.search import SearchBudget, SearchConfig
from pmd_ray.spec.search_record import SAMPLED


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """One target depth, or one place of a beam."""

    name: str
    trials: int
    enqueued: int
    """Of them, those that are not drawn."""
    points: int | None
    """Of its space, under one parent for a beam; None: no end of them, or more than a plan lists."""
    points_at_most: int | None
    """Had every combination been drawn; None: no end of them."""
    naive: int
    """Stages, had each trial trained its own."""
    stages: int
    """Distinct ones that no earlier round asks for."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What `pmd plan` shows of a search; nothing has been trained for it."""

    search: SearchConfig
    rounds: tuple[RoundPlan, ...]
    trials: StudyPlan
    """Every trial as a variant, without pruning: what a pruner stops is saved."""
    exact: bool
    """Whether the stages are as many whichever points are drawn."""
    trials_done: int
    fit: int
    """Trials, those done included, that the budget's hours and stages allow."""
    more: bool
    """Whether hours or stages leave room for more trials than a plan draws."""
    confirm: StudyPlan | None
    """With stand-ins for the best; None where nothing is confirmed."""
    warnings: tuple[str, ...]

    @property
    def identities(self) -> Identities:
        """Of its graph and encoders."""
        return self.trials.identities

    @property
    def planned(self) -> int:
        """Trials, those done included."""
        return sum(one.trials for one in self.rounds)

    def json(self) -> dict[str, Any]:
        """One object of plain values."""
        told, search = self.trials.json(), self.search
        return {
            "search": search.name,
            "about": search.about,
            "seed": search.seed,
            "metric": search.metric,
            **search.search.model_dump(mode="json", include={"strategy", "sampler", "pruner", "objectives"}),
            **{key: told[key] for key in ("device", "dataset", "known", "missing")},
            "rounds": [asdict(one) for one in self.rounds],
            "trials": {"planned": self.planned, "done": self.trials_done, "fit": self.fit, "more": self.more},
            "stages": {**told["stages"], "exact": self.exact},
            "cost": {key: value for key, value in told["cost"].items() if key != "by_stage"},
            "memory": told["memory"],
            "confirm": self.confirm and _confirm_json(self.confirm),
            "warnings": list(self.warnings),
        }


def make_search_plan(
    search: SearchConfig,
    *,
    identities: Identities,
    rounds: Sequence[DrawnRound] | None = None,
    tree: StageTree | None = None,
    stored: Collection[str] = (),
    measured: Iterable[Measured] = (),
    slots: int,
    threads: int = 1,
    trials_done: int = 0,
    seconds_done: float = 0.0,
    stages_done: int = 0,
    at_once: int | None = None,
    memory: int | None = None,
    rate: Rate | None = None,
) -> SearchPlan:
    """Plan a search.

    Args:
        search: As its file says.
        identities: Of its graph and encoders (`search_studies.identify_search`).
        rounds: Drawn from it, where the caller has them (`search_draws.drawn_rounds`).
        tree: Of their stages, where the caller has it (`search_studies.tree_of_trials`).
        stored: Keys that the store has, of that tree's.
        measured: What earlier stages cost.
        slots: Stages at once, 1 or more.
        threads: Of each stage on a CPU.
        trials_done: Trials that ended in earlier runs; the first ones drawn stand for them.
        seconds_done: Wall-clock of earlier runs, which the budget's hours count.
        stages_done: Stages trained by them, which the budget's stages count.
        at_once: Trials at once; None is as many as stages.
        memory: Bytes that stages share; None is not known.
        rate: Of training; None times a product, or takes the GPU's for granted.
    """
    rounds = tuple(drawn_rounds(search) if rounds is None else rounds)
    planned = partial(
        make_plan,
        identities=identities,
        measured=list(measured),
        slots=slots,
        threads=threads,
        memory=memory,
        rate=rate,
    )
    tree = tree or tree_of_trials(search, rounds, identities)
    done = {use.key for run in tree.runs[:trials_done] for use in run.stages}
    trials = planned(study_of_trials(search, rounds), tree=tree, stored={*stored, *done})
    fit, limit = _fit(trials, search.budget, trials_done, seconds=seconds_done, stages=stages_done)
    here = SearchCircumstances(
        planned=len(tree.runs),
        fit=fit,
        limit=limit,
        hours=(seconds_done + trials.wall_seconds) / HOUR,
        stages=len(trials.left),
        at_once=at_once or slots,
        teachers=len({run.stages[0].key for run in tree.runs}),
    )
    more = open_end(search) and not limit and any(len(one.trials) >= DRAWN_AT_MOST for one in rounds)
    if open_end(search) and limit:
        rounds = _cut(rounds, max(fit, trials_done, 1))
        trials = planned(study_of_trials(search, rounds), stored={*stored, *done})
    confirming = confirming_study(search, rounds, _seconds(trials))
    confirm = planned(confirming, stored={*stored, *trials.tree.stages}) if confirming else None
    said = (*search_cautions(search, rounds, here), *trials.warnings, *_of_confirm(confirm))
    return SearchPlan(
        search=search,
        rounds=tuple(_round_plans(rounds, trials)),
        trials=trials,
        exact=all(one.exact for one in rounds),
        trials_done=trials_done,
        fit=fit,
        more=more,
        confirm=confirm,
        warnings=tuple(dict.fromkeys(said)),
    )


def _fit(plan: StudyPlan, budget: SearchBudget, trials_done: int, *, seconds: float, stages: int) -> tuple[int, str]:
    """Trials that the budget allows, in the order of asking, and which part of it ends them.

    `seconds` and `stages` are spent already, by trials that are done.
    """
    seen = set(plan.stored_keys)
    for number, run in enumerate(plan.tree.runs):
        fresh = {use.key for use in run.stages} - seen
        seen |= fresh
        seconds += sum(plan.seconds[key] for key in fresh) / plan.slots
        stages += len(fresh)
        if number < trials_done:
            continue
        if budget.hours is not None and seconds > budget.hours * HOUR:
            return number, "hours"
        if budget.stages is not None and stages > budget.stages:
            return number, "stages"
    return len(plan.tree.runs), ""


def _cut(rounds: Sequence[DrawnRound], trials: int) -> tuple[DrawnRound, ...]:
    """The first trials, and the rounds that have some."""
    kept: list[DrawnRound] = []
    for one in rounds:
        taken = one.trials[: trials - sum(len(earlier.trials) for earlier in kept)]
        if taken:
            kept.append(replace(one, trials=taken))
    return tuple(kept)


def _seconds(plan: StudyPlan) -> dict[str, float]:
    """Cost of each trial alone, by variant."""
    return {run.variant: sum(plan.costs[use.key].seconds for use in run.stages) for run in plan.tree.runs}


def _round_plans(rounds: Sequence[DrawnRound], plan: StudyPlan) -> Iterator[RoundPlan]:
    runs = iter(plan.tree.runs)
    seen: set[str] = set()
    for one in rounds:
        used = [use.key for _ in one.trials for use in next(runs).stages]
        fresh = set(used) - seen
        seen |= fresh
        yield RoundPlan(
            name=one.name,
            trials=len(one.trials),
            enqueued=sum(trial.origin != SAMPLED for trial in one.trials),
            points=one.points,
            points_at_most=one.points_at_most,
            naive=len(used),
            stages=len(fresh),
        )


def _of_confirm(plan: StudyPlan | None) -> list[str]:
    return [f"confirm: {text}" for text in plan.warnings] if plan else []


def _confirm_json(plan: StudyPlan) -> dict[str, Any]:
    told = plan.json()
    return {
        "variants": len(told["variants"]),
        "seeds": told["seeds"],
        "stages": told["stages"],
        "cost": {key: value for key, value in told["cost"].items() if key != "by_stage"},
        "power": told["power"],
    }
