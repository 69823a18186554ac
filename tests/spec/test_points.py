"""Points: what is drawn becomes a chain and comes back; every point of a finite space is listed once."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.plan.tree import build_tree
from pmd_ray.spec.chain_stages import Facts
from pmd_ray.spec.draw import draw_chain, walk_chain, walk_grade
from pmd_ray.spec.errors import SpecError, UserError
from pmd_ray.spec.points import (
    all_params,
    chain_of,
    chain_up_to,
    params_of,
    params_of_grade,
    settings_of,
    settings_of_grade,
    targets_of,
)
from pmd_ray.spec.search import SearchConfig, SpaceConfig
from pmd_ray.spec.search_chain import meaning_of
from pmd_ray.spec.study import StudyRun
from pmd_ray.spec.suggest import Randomly

BASE: dict[str, Any] = {"preset": "pmd_code", "dataset": "WN18RR", "encoder": "scratch"}
FIVE = [0.0, 0.1, 0.2, 0.3, 0.4]
GRID = {"weights": {"alpha": FIVE, "beta": FIVE, "from_student": 2}}
RATIOS = {"low": 0.02, "high": 4.0, "log": True}
WIDE: dict[str, Any] = {
    "layers": {"first": [12, 12], "between": [9, 6], "targets": [3]},
    "masks": {"first": {"low": 0.0, "high": 0.35, "step": 0.05}, "ratio": [0.0, 0.5, 1.0]},
    "weights": {"form": "log_ratio", "alpha": RATIOS, "beta": RATIOS},
    "settings": {
        "students.optimiser.lr": {"values": {"low": 1e-5, "high": 5e-4, "log": True}},
        "optimiser.epochs": {"values": {"low": 10, "high": 50, "step": 20}},
        "loss.feature": {"values": [{"name": "pkd", "state": "mean"}, "mgfd"]},
        "loss.feature.normalise": {"values": ["l2", "none"], "when": {"loss.feature": ["mgfd"]}},
    },
}


def search(space: dict[str, Any], **more: Any) -> SearchConfig:
    return SearchConfig(name="s", drafts=(BASE, more.pop("over", {})), space=SpaceConfig(**space), **more)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_settings_come_back_as_the_params_of_an_equal_chain(seed: int) -> None:
    config = search(WIDE)
    drawing = walk_chain(config, Randomly(seed), target=3)
    found = params_of(config, drawing.settings, target=3)
    assert found is not None
    assert meaning_of(config, settings_of(config, found, target=3)) == meaning_of(config, drawing.settings)
    # However the same settings are written.
    nested = dict(drawing.settings)
    nested["optimiser"] = {"epochs": nested.pop("optimiser.epochs")}
    assert params_of(config, nested, target=3) == found


def test_the_baseline_is_found_in_the_space() -> None:
    assert params_of(search(WIDE), {}, target=3) == {
        "layers": "12-12-9-6-3",
        "mask.first": 0.2,
        "mask.last_zero": True,
        "mask.ratio": 0.5,
        "alpha": 0.125,
        "beta": 0.125,
        "students.optimiser.lr": 5e-5,
        "optimiser.epochs": 50,
        "loss.feature": "mgfd",
        "loss.feature.normalise": "l2",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": [12, 12, 8, 3]},
        {"layers": [12, 9, 6, 3]},
        {"mask_rates": [0.4, 0.2, 0.1, 0.0]},
        {"mask_rates": [0.2, 0.1, 0.1, 0.0]},
        {"mask_rates": [0.0, 0.1, 0.2, 0.3]},
        {"loss.beta": 0.0},
        {"grades.6.loss.alpha": 0.2},
        {"optimiser.lr": 1e-4},  # of the teacher too
        {"optimiser.epochs": 40},
        {"loss.feature": "pkd"},
        {"optimiser.batch": 64},
        {"optimiser.lrr": 1},  # no chain at all
    ],
)
def test_what_the_space_does_not_hold_has_no_params(settings: dict[str, Any]) -> None:
    assert params_of(search(WIDE), settings, target=3) is None


def test_a_mapping_is_json_to_optuna_and_a_mapping_to_the_chain() -> None:
    config = search({"settings": {"loss.feature": WIDE["settings"]["loss.feature"]}})
    pkd = '{"name":"pkd","state":"mean"}'
    assert all_params(config, target=None) == [{"loss.feature": pkd}, {"loss.feature": "mgfd"}]
    laid = settings_of(config, {"loss.feature": pkd}, target=None)
    assert laid == {"loss.feature": {"name": "pkd", "state": "mean"}}
    assert chain_of(config, laid).grades[1].loss.feature.name == "pkd"
    assert params_of(config, laid, target=None) == {"loss.feature": pkd}


def test_optuna_keeps_what_is_drawn_and_it_comes_back() -> None:
    config = search(WIDE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        trial = study.ask()
        drawn = draw_chain(config, trial, target=3)
        assert drawn == trial.params
        assert walk_chain(config, optuna.trial.FixedTrial(trial.params), target=3).settings == settings_of(
            config, drawn, target=3
        )


def test_the_papers_grid_shares_48_of_125_stages() -> None:
    """Alpha and beta in 0 to 0.4, common teacher and pre-distilled grade (research notes, section 4)."""
    config = search(GRID)
    points = all_params(config, target=None)
    assert len(points) == 25 and len({tuple(point.items()) for point in points}) == 25
    chains = [chain_of(config, settings_of(config, point, target=None)) for point in points]
    runs = [StudyRun(variant=str(n), arm="", seed=0, chain=chain) for n, chain in enumerate(chains)]
    tree = build_tree(runs, lambda chain: Facts(dataset="d", encoder="e", device="cpu"))
    assert (tree.naive, tree.distinct) == (125, 77)


def test_a_beam_of_the_same_25_points_asks_for_101_of_350_stages() -> None:
    rates = {"mask_rates": [0.2, 0.15, 0.1, 0.05]}
    config = search({"weights": {"alpha": FIVE, "beta": FIVE}}, search={"strategy": "grade"}, over=rates)
    keys, naive, parent = set[str](), 0, dict[str, Any]()
    for place in (1, 2, 3, 4):
        points = all_params(config, target=None, place=place, parent=parent)
        children = [settings_of_grade(config, point, place=place, parent=parent) for point in points]
        assert len(children) == 25
        for child in children:
            stages = meaning_of(config, child)[: place + 1]
            assert len(chain_up_to(config, child, place=place).grades) == len(stages)
            naive += len(stages)
            keys.update(stages)
            assert params_of_grade(config, child, place=place, parent=parent) in points
        parent = children[7]
    assert (naive, len(keys)) == (350, 101)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_grade_comes_back_too(seed: int) -> None:
    config = search({key: WIDE[key] for key in ("masks", "weights", "settings")}, search={"strategy": "grade"})
    drawing = walk_grade(config, Randomly(seed), place=2, parent={})
    found = params_of_grade(config, drawing.settings, place=2, parent={})
    assert found is not None
    again = settings_of_grade(config, found, place=2, parent={})
    assert chain_of(config, again) == chain_of(config, drawing.settings)


def test_a_point_that_the_space_has_not_is_refused() -> None:
    config = search(WIDE)
    good = params_of(config, {}, target=3) or {}
    for wrong in ({"mask.first": 0.12}, {"alpha": 9.0}, {"layers": "12-3"}, {"optimiser.epochs": 20}):
        with pytest.raises(LookupError, match=next(iter(wrong))):
            settings_of(config, {**good, **wrong}, target=3)
    with pytest.raises(LookupError, match=r"students\.optimiser\.lr"):
        settings_of(config, {key: value for key, value in good.items() if "lr" not in key}, target=3)


def test_what_cannot_be_listed_is_said() -> None:
    with pytest.raises(UserError, match=r"space: alpha has no end of values to list; give it a list or a step"):
        all_params(search(WIDE), target=3)
    many = {"weights": {"alpha": {"low": 0.0, "high": 0.4, "step": 0.01}, "beta": [0.1, 0.2], "per": "grade"}}
    with pytest.raises(UserError, match=r"10,000 points at most can be listed, there are more \(about \d"):
        all_params(search(many), target=None)


def test_listing_follows_conditions() -> None:
    """Every point once, and as many as counted by hand."""
    config = search(
        {"masks": {"first": [0.0, 0.2], "ratio": [0.5, 1.0]}, "weights": {"alpha": [0.1, 0.3], "beta": [0.1, 0.3]}}
    )
    points = all_params(config, target=None)
    assert len(points) == 2 + 2 * 2 * 4  # alpha alone where nothing is masked; else last zero or not, ratio, weights
    assert len({meaning_of(config, settings_of(config, point, target=None)) for point in points}) == len(points) - 4
    # 0.2 halved three times is 0: with ratio 0.5 the last student is clean either way.


SEVERAL = {"objectives": ["metric", "parameters"]}


def test_several_objectives_draw_chains_of_every_depth() -> None:
    layers = {"first": [12], "between": [6], "targets": [4, 3]}
    config = search({"layers": layers}, search=SEVERAL, over={"layers": [12, 6, 3], "mask_rates": [0.2, 0.0]})
    assert targets_of(config) == [None]
    points = all_params(config, target=None)
    assert [point["layers"] for point in points] == ["12-4", "12-6-4", "12-3", "12-6-3"]
    for point in points:
        laid = settings_of(config, point, target=None)
        assert params_of(config, laid, target=None) == point


def test_targets_and_seeds() -> None:
    assert targets_of(search(GRID)) == [None]
    assert targets_of(search({"layers": {"first": [12], "targets": [4, 3]}})) == [4, 3]
    assert chain_of(search(GRID, seed=5), {}).seed == 5
    with pytest.raises(SpecError, match=r"mask\.rte"):
        chain_of(search(GRID), {"mask.rte": 1})
