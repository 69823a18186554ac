"""A search's plan: as many stages as the trials will train, what they cost, what to know before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.plan.rate import Rate
from pmd_ray.plan.search_draws import combinations, drawn_rounds
from pmd_ray.plan.search_lines import search_lines
from pmd_ray.plan.search_plan import SearchPlan, make_search_plan
from pmd_ray.plan.search_studies import identify_search, tree_of_trials
from pmd_ray.spec.points import all_params
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.suggest import Randomly

SCRATCH = {"name": "scratch", "scratch": {"layers": 12, "width": 32, "heads": 4, "vocabulary": 400}}
FIVE = [0.0, 0.1, 0.2, 0.3, 0.4]
WEIGHTS = {"alpha": FIVE, "beta": FIVE}
MASKS = {"masks": {"first": [0.1, 0.2, 0.3], "ratio": [0.5, 1.0]}}
NOTHING = {"default": False, "paper": False}


@pytest.fixture
def searched(graph_folder: Path) -> Any:
    """`searched(space, search=..., budget=..., KEY=...)`: a search over the tiny graph."""

    def search(space: dict[str, Any], *, baseline: dict[str, Any] | None = None, **parts: Any) -> SearchConfig:
        draft = {
            "preset": "pmd_scaled",
            "dataset": str(graph_folder),
            "encoder": SCRATCH,
            "layers": [3, 3, 2, 1],
            "mask_rates": [0.2, 0.1, 0.0],
            "optimiser": {"epochs": 2, "batch": 16},
        }
        content = {"name": "s", "drafts": [draft | (baseline or {})], "space": space, "enqueue": NOTHING}
        return SearchConfig.model_validate(content | parts)

    return search


def plan(search: SearchConfig, *, slots: int = 1, **given: Any) -> SearchPlan:
    rounds = drawn_rounds(search)
    identities = identify_search(search, rounds, device="cpu")
    rate = Rate(1e9, "at 1 GFLOP/s")
    return make_search_plan(search, identities=identities, rounds=rounds, slots=slots, rate=rate, **given)


def counts(made: SearchPlan) -> tuple[int, int, int]:
    return made.planned, made.trials.tree.distinct, made.trials.tree.naive


PAPER = {"layers": [12, 12, 9, 6, 3], "mask_rates": [0.2, 0.15, 0.1, 0.05]}


def test_a_grid_is_counted_exactly(searched: Any) -> None:
    """25 chains with a common teacher and pre-distilled 12: 2 stages, and 25 of each of three grades."""
    search = searched(
        {"weights": WEIGHTS | {"from_student": 2}}, baseline=PAPER, search={"strategy": "grid"}, budget={}
    )
    made = plan(search)
    assert made.exact and counts(made) == (25, 77, 125)
    assert [(one.points, one.trials, one.enqueued) for one in made.rounds] == [(25, 25, 0)]


def test_a_beam_trains_one_stage_for_each_child(searched: Any) -> None:
    """n x k x G and the teacher, where naive trials train every grade above too."""
    beam = {"strategy": "grade", "sampler": "grid", "beam": 1}
    made = plan(searched({"weights": WEIGHTS}, baseline=PAPER, search=beam, budget={}))
    assert made.exact and counts(made) == (100, 101, 25 * (2 + 3 + 4 + 5))
    assert [one.name for one in made.rounds] == ["grade-1", "grade-2", "grade-3", "grade-4"]
    wide = plan(searched({"weights": WEIGHTS}, search={"strategy": "grade", "beam": 2, "children": 3}, budget={}))
    assert [one.trials for one in wide.rounds] == [3, 6, 6]
    assert counts(wide)[:2] == (15, 16)


def test_random_draws_stand_for_a_sampler(searched: Any) -> None:
    search = searched(MASKS | {"settings": {"optimiser.lr": {"values": {"low": 1e-5, "high": 1e-3, "log": True}}}})
    made, again = plan(search), plan(search)
    assert not made.exact and made.planned == 20 and counts(made) == counts(again)
    assert made.rounds[0].points is None and made.rounds[0].points_at_most is None
    assert any("teachers are trained" in text and "students.optimiser.lr" in text for text in made.warnings)
    other = plan(search.model_copy(update={"seed": 1}))
    assert set(other.trials.tree.stages).isdisjoint(made.trials.tree.stages)


def test_a_round_for_each_target(searched: Any) -> None:
    layers = {"first": [4, 4], "between": [3, 2], "targets": [2, 1]}
    made = plan(searched({"layers": layers}, search={"strategy": "grid"}, budget={}))
    assert [(one.name, one.trials, one.stages) for one in made.rounds] == [("layers-2", 2, 5), ("layers-1", 4, 6)]
    assert sum(one.naive for one in made.rounds) == made.trials.tree.naive
    assert sum(one.stages for one in made.rounds) == made.trials.tree.distinct
    several = {"strategy": "grid", "objectives": ["metric", "cost"]}
    both = plan(searched({"layers": layers}, search=several, budget={}))
    assert [(one.name, one.trials, one.stages) for one in both.rounds] == [("chain", 6, 11)]
    assert both.rounds[0].points == combinations(searched({"layers": layers}, search=several)) == 6


def test_costs_add_up_and_storage_saves(searched: Any) -> None:
    search = searched(MASKS, budget={"trials": 6})
    before = plan(search, slots=2)
    told = json.loads(json.dumps(before.json(), allow_nan=False))
    assert told["cost"]["naive_hours"] > told["cost"]["cpu_hours"] > told["cost"]["wall_hours"] > 0
    assert told["stages"] | {"left": 0} == told["stages"] | {"left": 0, "stored": 0, "exact": False}
    assert told["trials"] == {"planned": 6, "done": 0, "fit": 6, "more": False}
    tree = tree_of_trials(search, drawn_rounds(search), before.identities)
    assert tree.stages.keys() == before.trials.tree.stages.keys()
    roots = {stage.key for stage in before.trials.tree.roots()}
    after = plan(search, slots=2, stored=roots)
    assert after.trials.stored == len(roots) == 1 and after.trials.hours < before.trials.hours
    resumed = plan(search, slots=2, trials_done=4)
    done = {use.key for run in before.trials.tree.runs[:4] for use in run.stages}
    assert resumed.trials.stored_keys == done
    assert resumed.json()["trials"] == {"planned": 6, "done": 4, "fit": 6, "more": False}


def test_what_a_budget_allows(searched: Any) -> None:
    whole = plan(searched(MASKS, budget={"trials": 6}))
    hours = whole.trials.hours / 2
    short = plan(searched(MASKS, budget={"trials": 6, "hours": hours}))
    said = [text for text in short.warnings if text.startswith("budget.hours")]
    assert len(said) == 1 and f"about {short.fit} of 6 trials fit" in said[0] and 0 < short.fit < 6
    spent = {use.key for run in whole.trials.tree.runs[: short.fit] for use in run.stages}
    assert sum(whole.trials.seconds[key] for key in spent) <= hours * 3600
    assert plan(searched(MASKS, budget={"trials": 6, "hours": hours}), slots=2).fit > short.fit
    alone = plan(searched(MASKS, budget={"hours": hours}))
    assert alone.planned == alone.fit == short.fit  # the budget is what ends it
    assert not [text for text in alone.warnings if text.startswith("budget.hours")]
    few = plan(searched(MASKS, budget={"trials": 6, "stages": 4}))
    assert few.fit == 1 and any(text.startswith("budget.stages: 4 stages will not do") for text in few.warnings)


def test_earlier_runs_count_against_the_budget(searched: Any) -> None:
    search = searched(MASKS, budget={"trials": 6, "hours": 1.0})
    assert plan(search, trials_done=2).fit == 6
    spent = plan(search, trials_done=2, seconds_done=3599.9)
    assert spent.fit == 2 and any(text.startswith("budget.hours") for text in spent.warnings)
    few = searched(MASKS, budget={"trials": 6, "stages": 30})
    assert (plan(few, trials_done=2).fit, plan(few, trials_done=2, stages_done=30).fit) == (6, 2)


def test_more_trials_than_a_plan_draws(searched: Any) -> None:
    lr = {"settings": {"students.optimiser.lr": {"values": {"low": 1e-5, "high": 1e-3, "log": True}}}}
    assert plan(searched(lr, budget={"hours": 1e4})).more
    used_up = plan(searched(MASKS, budget={"hours": 1e4}))
    assert not used_up.more and used_up.planned == used_up.fit < 60


WORDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "seed": ({"confirm": {"seeds": [0, 1]}}, {"confirm": {"seeds": [1, 2]}}, "confirm.seeds: 0 is the search's own"),
    "pruner": (
        {"search": {"pruner": "asha", "prune_on": "target", "grace_epochs": 2}},
        {"search": {"pruner": "asha", "prune_on": "target", "grace_epochs": 1}},
        "search.pruner: asha stops nothing",
    ),
    "startup": (
        {"budget": {"trials": 5}},
        {"budget": {"trials": 5}, "search": {"startup": 4}},
        "tpe draws at random until 10 trials are done, and no more than 5",
    ),
    "pruned": (
        {"search": {"sampler": "cmaes", "pruner": "asha"}},
        {"search": {"sampler": "tpe", "pruner": "asha"}},
        "search.pruner: asha leaves cmaes little to learn from",
    ),
    "space": (
        {"budget": {"trials": 90}},
        {"budget": {"trials": 8}},
        "budget.trials: 90 are more than there are chains",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_warnings(searched: Any, case: str) -> None:
    told, quiet, words = WORDS[case]
    assert any(words in text for text in plan(searched(MASKS, **told)).warnings)
    assert not any(words in text for text in plan(searched(MASKS, **quiet)).warnings)


def test_one_epoch_a_grade(searched: Any) -> None:
    pruned: dict[str, Any] = {"search": {"pruner": "wilcoxon", "prune_on": "any"}}
    short = plan(searched(MASKS, baseline={"optimiser": {"epochs": 1}}, **pruned))
    assert any("wilcoxon looks between grades only" in text for text in short.warnings)
    assert not any("search.pruner" in text for text in plan(searched(MASKS, **pruned)).warnings)


@pytest.mark.parametrize(("sampler", "learns"), [("tpe", True), ("random", False)])
def test_trials_at_once(searched: Any, sampler: str, learns: bool) -> None:
    search = searched(MASKS, search={"sampler": sampler})
    words = "2 trials at once"
    assert any(text.startswith(words) for text in plan(search, slots=2).warnings) is learns
    assert not any(text.startswith(words) for text in plan(search, slots=2, at_once=1).warnings)


def test_the_confirmation_is_planned_too(searched: Any) -> None:
    made = plan(searched(MASKS, budget={"trials": 4}, confirm={"best": 2, "seeds": [1, 2, 3]}))
    told = made.json()["confirm"]
    assert (told["variants"], told["seeds"]) == (3, [1, 2, 3])
    assert made.confirm is not None and {run.seed for run in made.confirm.tree.runs} == {1, 2, 3}
    assert len(made.confirm.left) == told["stages"]["left"] == told["stages"]["distinct"]
    assert any(text.startswith("confirm: ") and "p = 0.125" in text for text in made.warnings)
    assert plan(searched(MASKS, confirm={"best": 0})).confirm is None


def test_lines_for_a_terminal(searched: Any) -> None:
    made = plan(searched(MASKS, about="Which masks?", budget={"trials": 4}), slots=2)
    lines = list(search_lines(made, storage="runs/store"))
    tree = made.trials.tree
    assert lines[0] == "s: Which masks?"
    points = made.rounds[0].points
    assert f"chain: 4 trials of {points} points: {tree.naive} stages, {tree.distinct} new" in lines
    asked = f"4 trials: about {tree.distinct} stages ({tree.naive} without sharing), nothing stored in runs/store"
    assert f"{asked}, {tree.distinct} to train" in lines
    assert any(line.startswith("confirmation: up to 2 chains") for line in lines)


@pytest.mark.parametrize("per", ["chain", "grade"])
def test_combinations_bound_the_points(searched: Any, per: str) -> None:
    weights = {"weights": {"alpha": [0.1, 0.5], "beta": [0.1, 0.5], "per": per}}
    masks = {"masks": {"first": [0.0, 0.2], "ratio": [0.5]}}
    search = searched(masks | weights, baseline={"layers": [3, 2, 1], "mask_rates": [0.2, 0.0]})
    bound = combinations(search)
    assert bound == 2 * 1 * 2 * (4 if per == "chain" else 16)
    assert len(all_params(search, target=None)) <= bound
    assert drawn_rounds(search)[0].points == len(all_params(search, target=None))


@given(
    seed=st.integers(0, 2**32),
    low=st.integers(-5, 5),
    size=st.integers(1, 40),
    step=st.sampled_from([1, 2, 5]),
)
def test_random_values_lie_within(seed: int, low: int, size: int, step: int) -> None:
    one, same = Randomly(seed), Randomly(seed)
    for _ in range(3):
        whole = one.suggest_int("i", low, low + size, step=step)
        assert low <= whole <= low + size and (whole - low) % step == 0
        stepped = one.suggest_float("f", low * 0.05, (low + size) * 0.05, step=0.05)
        assert round(stepped / 0.05, 6).is_integer() and low * 0.05 - 1e-9 <= stepped <= (low + size) * 0.05 + 1e-9
        assert 1e-5 <= one.suggest_float("g", 1e-5, 1e-3, log=True) <= 1e-3
        assert 1 <= one.suggest_int("h", 1, 64, log=True) <= 64
        assert one.suggest_categorical("c", ["a", None]) in ("a", None)
        assert whole == same.suggest_int("i", low, low + size, step=step)
        assert stepped == same.suggest_float("f", low * 0.05, (low + size) * 0.05, step=0.05)
        same.suggest_float("g", 1e-5, 1e-3, log=True)
        same.suggest_int("h", 1, 64, log=True)
        same.suggest_categorical("c", ["a", None])


def test_a_plan_draws_the_same_points_again(searched: Any) -> None:
    """The first two of a seed, literally: another sequence would be another plan."""
    space = {
        "masks": {"first": {"low": 0.0, "high": 0.3, "step": 0.1}, "ratio": [0.5, 1.0]},
        "weights": {
            "form": "log_ratio",
            "alpha": {"low": 0.01, "high": 3.0, "log": True},
            "beta": {"low": 0.01, "high": 3.0, "log": True},
        },
        "settings": {
            "optimiser.lr": {"values": {"low": 1e-5, "high": 1e-3, "log": True}},
            "optimiser.weight_decay": {"values": {"low": 0.0, "high": 0.1, "step": 0.01}},
            "optimiser.epochs": {"values": {"low": 1, "high": 9, "step": 2}},
        },
    }
    (drawn,) = drawn_rounds(searched(space, budget={"trials": 2}))
    assert [trial.settings for trial in drawn.trials] == [
        {
            "mask_rates": [0.0, 0.0, 0.0],
            "loss.alpha": 0.050446,
            "optimiser.lr": 0.0004208087539133302,
            "optimiser.weight_decay": 0.01,
            "optimiser.epochs": 9,
        },
        {
            "mask_rates": [0.3, 0.3, 0.0],
            "loss.alpha": 0.025587,
            "loss.beta": 0.182626,
            "optimiser.lr": 0.0009432144528822505,
            "optimiser.weight_decay": 0.01,
            "optimiser.epochs": 3,
        },
    ]
