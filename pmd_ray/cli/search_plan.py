"""Plans a search with what a store knows of it, and says the plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pmd_ray.cli.output import say, warn

if TYPE_CHECKING:
    from pmd_ray.plan.search_plan import SearchPlan
    from pmd_ray.spec.search import SearchConfig
    from pmd_ray.store.store import Store


def search_plan_of(
    search: SearchConfig,
    *,
    store: Store | None,
    device: str,
    cpus: int = 1,
    slots: int | None = None,
    at_once: int | None = None,
    home: Path | None = None,
) -> SearchPlan:
    """Plan a search; see `cli.plan.plan_of`.

    Args:
        search: As its file says.
        store: None where there is none yet.
        device: `cpu` or `cuda`.
        cpus: Cores of each stage.
        slots: Stages at once; None is as many as this machine holds.
        at_once: Trials at once; None is as many as stages.
        home: Where fetched datasets lie.
    """
    from pmd_ray.cli.measured import known_stages
    from pmd_ray.plan import machine
    from pmd_ray.plan.search_draws import drawn_rounds
    from pmd_ray.plan.search_plan import make_search_plan
    from pmd_ray.plan.search_studies import identify_search, tree_of_trials
    from pmd_ray.run.graphs import bring_graph
    from pmd_ray.spec.places import Places
    from pmd_ray.spec.search_chain import chain_of
    from pmd_ray.spec.search_reading import read_stored
    from pmd_ray.spec.search_record import search_id
    from pmd_ray.store.location import without_secrets

    rounds = drawn_rounds(search)
    graphs = bring_graph(chain_of(search, {}).dataset.source, Places(), store).graphs
    identities = identify_search(search, rounds, device=device, home=home, graphs=graphs)
    tree = tree_of_trials(search, rounds, identities)
    earlier = None
    if store is not None:
        earlier = read_stored(store.study(search_id(search)), search_id(search), where=without_secrets(store.location))
    stored, measured = known_stages(store, tree, identities)
    return make_search_plan(
        search,
        identities=identities,
        rounds=rounds,
        tree=tree,
        stored=stored,
        measured=measured,
        slots=slots or machine.stages_at_once(device, cpus=cpus),
        threads=cpus,
        trials_done=sum(trial.told is not None for trial in earlier.trials) if earlier else 0,
        seconds_done=earlier.seconds if earlier else 0.0,
        at_once=at_once,
        memory=machine.memory_bytes() if device == "cpu" else None,
    )


def say_search_plan(made: SearchPlan, *, storage: str) -> None:
    """Say on standard error what is about to be tried, how long it takes, and what to know before."""
    from pmd_ray.plan.search_lines import confirm_line, cost_line, short_line
    from pmd_ray.store.location import without_secrets

    say(f"{made.search.name}: {short_line(made, storage=without_secrets(storage))}", json=True)
    say(cost_line(made), json=True)
    if made.confirm is not None:
        say(confirm_line(made.confirm), json=True)
    for text in (*made.trials.identities.missing, *made.warnings):
        warn(text)


def show_search_plan(made: SearchPlan, *, storage: str) -> None:
    """The whole plan on a terminal; warnings on standard error."""
    from pmd_ray.plan.search_lines import search_lines
    from pmd_ray.store.location import without_secrets

    for line in search_lines(made, storage=without_secrets(storage)):
        say(line)
    for text in (*made.trials.identities.missing, *made.warnings):
        warn(text)
