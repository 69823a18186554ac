"""What to know before a search is started: what its budget will not do, what its strategy cannot do with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pmd_ray.plan.search_draws import DrawnRound, open_end
from pmd_ray.spec.points import targets_of
from pmd_ray.spec.search import SearchConfig

LEARNING = ("tpe", "gp", "cmaes", "nsga2")
"""Samplers that look at earlier trials."""
WITH_STARTUP = ("tpe", "gp", "cmaes")
FROM_ENDED_ALONE = ("gp", "cmaes")
"""To their models a pruned trial is none."""


@dataclass(frozen=True, kw_only=True)
class SearchCircumstances:
    """What a search is held against."""

    planned: int
    """Trials, over all rounds."""
    fit: int
    """Trials that its hours and stages allow, the first ones first."""
    limit: str
    """The part of the budget that ends it first: `hours`, `stages`, or nothing."""
    hours: float
    """Wall-clock of all planned trials, those done included."""
    stages: int
    """Left to train for them."""
    at_once: int
    """Trials."""
    teachers: int
    """First stages, over all trials."""


def search_cautions(search: SearchConfig, rounds: Sequence[DrawnRound], here: SearchCircumstances) -> tuple[str, ...]:
    """Every warning, a sentence or two each."""
    return (
        *_budget(search, here),
        *_space(search, rounds),
        *_sharing(search, here),
        *_seeds(search),
        *_pruner(search, rounds),
        *_pruned(search),
        *_startup(search, rounds),
        *_at_once(search, here),
    )


def _budget(search: SearchConfig, here: SearchCircumstances) -> Iterator[str]:
    budget = search.budget
    if here.fit < here.planned and not open_end(search):
        asked = f"{budget.hours:g} hours" if here.limit == "hours" else f"{budget.stages} stages"
        needed = f"about {here.hours:.2g} are needed" if here.limit == "hours" else f"{here.stages} are left to train"
        yield (
            f"budget.{here.limit}: {asked} will not do, {needed}; about {here.fit} of {here.planned} trials fit; raise "
            "it, ask fewer trials, or train fewer steps"
        )
    targets = targets_of(search)
    if open_end(search) and len(targets) > 1:
        yield (
            f"budget: hours and stages are of the whole search, and the first of {len(targets)} target depths "
            f"({targets[0]}) would use them up; give budget.trials, which counts for each depth"
        )


def _space(search: SearchConfig, rounds: Sequence[DrawnRound]) -> Iterator[str]:
    asked = search.budget.trials
    if search.is_grid or search.search.strategy == "grade" or asked is None:
        return
    for one in rounds:
        if one.points is not None and len(one.trials) < asked:
            yield (
                f"budget.trials: {asked} are more than there are chains in {one.name} ({len(one.trials)} with the "
                "enqueued ones); strategy: grid tries each once"
            )


def _sharing(search: SearchConfig, here: SearchCircumstances) -> Iterator[str]:
    """Settings of every grade, which make each chain train a teacher of its own."""
    everywhere = [key for key in search.space.settings if key.partition(".")[0] not in ("students", "grades")]
    if here.teachers > 1 and everywhere:
        drawn = f"{', '.join(everywhere)} {'are' if len(everywhere) > 1 else 'is'} drawn for the teacher too"
        way = f"students.{everywhere[0]} leaves it alone"
        yield f"{here.teachers} teachers are trained, and little is shared: {drawn}; {way}"


def _seeds(search: SearchConfig) -> Iterator[str]:
    if search.confirm.best and search.seed in search.confirm.seeds:
        yield (
            f"confirm.seeds: {search.seed} is the search's own seed, by which the winner was chosen; a fresh one would "
            "not flatter it"
        )


def _pruner(search: SearchConfig, rounds: Sequence[DrawnRound]) -> Iterator[str]:
    """A pruner that finds nothing to stop: a trial's last epoch saves nothing any more."""
    config = search.search
    chains = [drawn.chain for one in rounds for drawn in one.trials]
    if config.pruner == "none" or not chains:
        return
    on_target = (config.prune_on or ("target" if search.space.layers else "any")) == "target"
    longest = max(chain.grades[-1].optimiser.epochs for chain in chains)
    if on_target and longest <= config.grace_epochs:
        yield (
            f"search.pruner: {config.pruner} stops nothing: it looks at the last grade alone (prune_on: target), whose "
            f"{_counted(longest, 'epoch')} are over after search.grace_epochs: {config.grace_epochs}; train more and "
            "shorter epochs (optimiser.steps_per_epoch)"
        )
    elif not on_target and max(grade.optimiser.epochs for chain in chains for grade in chain.grades) == 1:
        yield (
            f"search.pruner: {config.pruner} looks between grades only, each has one epoch; train more and shorter "
            "epochs (optimiser.steps_per_epoch)"
        )


def _pruned(search: SearchConfig) -> Iterator[str]:
    """On the surface of `benchmarks/RESULTS.md` it costs these samplers a third to half of the seeds."""
    config = search.search
    if config.pruner != "none" and config.sampler in FROM_ENDED_ALONE and config.strategy in ("chain", "grade"):
        yield (
            f"search.pruner: {config.pruner} leaves {config.sampler} little to learn from, which looks at trials that "
            "came to their end alone; use pruner: none, or sampler: tpe, which takes pruned ones into account"
        )


def _startup(search: SearchConfig, rounds: Sequence[DrawnRound]) -> Iterator[str]:
    config = search.search
    if config.sampler not in WITH_STARTUP or search.is_grid or config.strategy == "random":
        return
    short = [one for one in rounds if _asked_of_a_study(search, one) <= config.startup]
    if short:
        most = max(_asked_of_a_study(search, one) for one in short)
        where = "" if len(short) == len(rounds) else f" in {', '.join(one.name for one in short)}"
        yield (
            f"search.startup: {config.sampler} draws at random until {config.startup} trials are done, and no more "
            f"than {most} are asked for{where}; lower it, raise the trials, or say strategy: random"
        )


def _asked_of_a_study(search: SearchConfig, one: DrawnRound) -> int:
    """Trials of one Optuna study: each parent of a beam has its own."""
    return min(search.search.children, len(one.trials)) if search.search.strategy == "grade" else len(one.trials)


def _at_once(search: SearchConfig, here: SearchCircumstances) -> Iterator[str]:
    learns = search.search.sampler in LEARNING and search.search.strategy != "random" and not search.is_grid
    prunes = search.search.pruner != "none"
    if here.at_once > 1 and (learns or prunes):
        yield (
            f"{here.at_once} trials at once: what is drawn and stopped depends on which ends first; the log keeps the "
            "order, one at a time is reproducible from the seed alone"
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
