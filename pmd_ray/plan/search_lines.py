"""A search's plan as lines for a terminal: rounds, stages, cost, memory, confirmation."""

from __future__ import annotations

from collections.abc import Iterator

from pmd_ray.plan.draw import duration
from pmd_ray.plan.search_plan import RoundPlan, SearchPlan
from pmd_ray.plan.study_plan import HOUR, StudyPlan

GB = 1e9


def search_lines(made: SearchPlan, *, storage: str) -> Iterator[str]:
    """Everything but the dataset and the warnings, which commands show in their own way."""
    search, config = made.search, made.search.search
    yield f"{search.name}: {search.about}" if search.about else search.name
    yield f"strategy {config.strategy}, sampler {config.sampler}, pruner {config.pruner}; {search.metric} on valid"
    yield ""
    yield from map(_round, made.rounds)
    yield ""
    yield short_line(made, storage=storage)
    yield cost_line(made)
    stage, largest = made.trials.largest
    yield f"memory: up to {largest / GB:.1f} GB for a stage ({stage.grade.layers} layers)"
    if made.confirm is not None:
        yield confirm_line(made.confirm)


def short_line(made: SearchPlan, *, storage: str) -> str:
    """Trials and stages."""
    trials, tree = made.trials, made.trials.tree
    done = f", {made.trials_done} done" if made.trials_done else ""
    guess = "" if made.exact else "about "
    stored = f"{trials.stored} stored in {storage}" if trials.stored else f"nothing stored in {storage}"
    trials_told = ("at least " if made.more else "") + counted(made.planned, "trial")
    stages = f"{guess}{counted(tree.distinct, 'stage')} ({tree.naive} without sharing)"
    return f"{trials_told}{done}: {stages}, {stored}, {len(trials.left)} to train"


def cost_line(made: SearchPlan) -> str:
    """What the trials cost, shared and naive, and where that is known from."""
    pruned = "" if made.search.search.pruner == "none" else ", less what the pruner stops"
    naive = duration(made.trials.naive_hours * HOUR)
    return f"cost: {_spent(made.trials)}{pruned}; {naive} without sharing and storage\n  {made.trials.source}"


def confirm_line(plan: StudyPlan) -> str:
    """What it takes to train the best again."""
    chains, seeds = len(plan.study.variants), len(plan.study.seeds)
    return (
        f"confirmation: up to {counted(chains, 'chain')} (the default one of them) x {counted(seeds, 'seed')}: "
        f"{counted(len(plan.left), 'stage')} to train, {_spent(plan)}"
    )


def counted(count: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _round(one: RoundPlan) -> str:
    enqueued = f" ({one.enqueued} enqueued)" if one.enqueued else ""
    stages = f"{one.naive} stages, {one.stages} new"
    return f"{one.name}: {counted(one.trials, 'trial')}{enqueued} of {_space(one)}: {stages}"


def _space(one: RoundPlan) -> str:
    if one.points is not None:
        return counted(one.points, "point")
    return "an endless space" if one.points_at_most is None else f"up to {one.points_at_most:,} points"


def _spent(plan: StudyPlan) -> str:
    at_once = f"{counted(plan.slots, 'stage')} at once"
    return f"about {duration(plan.hours * HOUR)} of {plan.unit} time, {duration(plan.wall_seconds)} with {at_once}"
