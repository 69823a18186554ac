"""Drawing: every point is a chain within bounds, and nothing is drawn that nothing reads."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.spec.draw import Drawing, base_name, draw_chain, draw_grade, walk_chain, walk_grade
from pmd_ray.spec.schedules import layer_schedules, mask_schedule, on_grid, ratios_of_weights, weights_of_ratios
from pmd_ray.spec.search import LayerSpace, SearchConfig, SpaceConfig
from pmd_ray.spec.search_chain import chain_of, meaning_of, read_of
from pmd_ray.spec.suggest import Given, Randomly

BASE = {"preset": "pmd_code", "layers": [6, 6, 4, 2], "dataset": "cldr", "encoder": "scratch"}
LAYERS = {"first": [6], "between": [5, 4, 3], "targets": [2]}
MASKS = {"first": {"low": 0.0, "high": 0.35, "step": 0.05}, "ratio": [0.0, 0.25, 0.5, 0.75, 1.0]}
RATIOS = {"low": 0.02, "high": 4.0, "log": True}
GRID = [0.0, 0.1, 0.3, 0.5, 0.8]
OPTIONS = {
    "loss.feature": {"values": [{"name": "pkd", "state": "mean"}, "mgfd"]},
    "loss.feature.when_unmasked": {"values": ["nowhere", "random"], "when": {"loss.feature": ["mgfd"]}},
    "loss.feature.normalise": {"values": ["l2", "none"], "when": {"loss.feature": ["mgfd"]}},
    "loss.score.space": {"values": ["logits", "cosine"]},
    "mask.teacher_input": {"values": ["same", "clean"]},
    "students.optimiser.lr": {"values": {"low": 1e-5, "high": 5e-4, "log": True}},
    "students.optimiser.epochs": {"values": {"low": 1, "high": 9, "whole": True}},
    "students.optimiser.warmup_steps": {"values": {"low": 10, "high": 50, "step": 20}},
}
SPACES: dict[str, dict[str, Any]] = {
    "all": {"layers": LAYERS, "masks": MASKS, "weights": {"alpha": GRID, "beta": GRID}, "settings": OPTIONS},
    "ratios": {"masks": MASKS, "weights": {"form": "log_ratio", "alpha": RATIOS, "beta": RATIOS, "per": "grade"}},
    "grid by grade": {"layers": LAYERS, "weights": {"alpha": GRID, "beta": GRID, "per": "grade", "from_student": 2}},
    "taught or not": {
        "masks": {"first": [0.0, 0.05, 0.3]},
        "weights": {"alpha": {"low": 0.1, "high": 0.5, "step": 0.1}, "beta": {"low": 0.1, "high": 0.5, "step": 0.1}},
        "settings": {"teacher": {"values": ["previous", "none"]}},
    },
}


def search(space: dict[str, Any], **more: Any) -> SearchConfig:
    return SearchConfig(name="s", drafts=(BASE, more.pop("over", {})), space=SpaceConfig(**space), **more)


def drawn(space: str, seed: int) -> Drawing:
    config = search(SPACES[space])
    return walk_chain(config, Randomly(seed), target=2 if "layers" in SPACES[space] else None)


seeds = st.integers(0, 10_000)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(SPACES)), seeds)
def test_every_point_is_a_chain_within_bounds(space: str, seed: int) -> None:
    drawing = drawn(space, seed)
    chain = chain_of(drawing.search, drawing.settings)
    layers, rates = [g.layers for g in chain.grades], [g.mask.rate for g in chain.grades[1:]]
    assert layers[-1] == 2 and all(above >= below for above, below in pairwise(layers))
    if "layers" in SPACES[space]:
        assert all(above > below for above, below in pairwise(layers))
    assert all(before >= after for before, after in pairwise(rates))
    if "masks" in SPACES[space]:
        assert all(rate == round(round(rate / 0.05) * 0.05, 10) for rate in rates)
    assert all(grade.loss.alpha + grade.loss.beta <= 0.9 + 1e-9 for grade in chain.grades)
    assert walk_chain(drawing.search, Given(drawing.params), target=2).settings == drawing.settings


class Partly:
    """Some answers given, the others by chance: the same for the same name and seed."""

    def __init__(self, params: dict[str, Any], seed: int = 0) -> None:
        self._given, self._seed = Given(params), seed

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> float:
        return self._ask("suggest_float", name, low, high, **how)

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> int:
        return self._ask("suggest_int", name, low, high, **how)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._ask("suggest_categorical", name, choices)

    def _ask(self, what: str, name: str, *given: Any, **how: Any) -> Any:
        try:
            return getattr(self._given, what)(name, *given, **how)
        except LookupError:
            return getattr(Randomly(zlib.crc32(f"{self._seed} {name}".encode())), what)(name, *given, **how)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(list(SPACES)), seeds)
def test_what_is_drawn_is_read(space: str, seed: int) -> None:
    """Another value of it gives another chain, at least with some answers to what is asked after it."""
    drawing = drawn(space, seed)
    asked = list(drawing.params.items())
    for place, (name, _) in enumerate(asked):
        # Beta is drawn where a feature loss that is searched may look at unmasked texts; it may then turn out not to.
        means = meaning_of if base_name(name) == "beta" else read_of

        def meaning(given: dict[str, Any], seed: int, means: Any = means) -> Any:
            return means(drawing.search, walk_chain(drawing.search, Partly(given, seed), target=2).settings)

        kept, before = dict(asked[: place + 1]), dict(asked[:place])
        assert any(meaning(kept, n) != meaning(before, n) for n in range(40)), (name, drawing.params)


def names(space: dict[str, Any], params: dict[str, Any], *, target: int | None = None, **more: Any) -> set[str]:
    """What is asked of a point whose answers these are, the rest by chance."""
    return set(draw_chain(search(space, **more), Partly(params), target=target))


def test_beta_is_not_drawn_where_nothing_is_masked() -> None:
    space = {"masks": MASKS, "weights": {"alpha": [0.1, 0.2], "beta": [0.1, 0.2]}}
    assert names(space, {"mask.first": 0.0}) == {"mask.first", "alpha"}
    assert "beta" in names(space, {"mask.first": 0.1})
    assert "beta" in names(space, {"mask.first": 0.0}, over={"loss.feature.when_unmasked": "random"})
    by_grade = {**space, "weights": {**space["weights"], "per": "grade"}}
    asked = names(by_grade, {"mask.first": 0.2, "mask.last_zero": True, "mask.ratio": 0.5})
    assert {"alpha@3", "beta@2"} <= asked and "beta@3" not in asked


def test_a_searched_feature_loss_may_ask_for_beta() -> None:
    space = {
        "masks": {"first": [0.0, 0.1]},
        "weights": {"alpha": [0.1, 0.2], "beta": [0.1, 0.2]},
        "settings": {"loss.feature.when_unmasked": {"values": ["nowhere", "random"]}},
    }
    assert names(space, {"mask.first": 0.0}) == {"mask.first", "alpha", "beta", "loss.feature.when_unmasked"}


def test_masks_are_asked_only_as_far_as_they_differ() -> None:
    space = {"layers": {**LAYERS, "at_least": 0}, "masks": {"first": [0.0, 0.05, 0.2], "ratio": [0.5, 1.0]}}
    assert names(space, {"layers": "6-2", "mask.first": 0.2}, target=2) == {"layers", "mask.first"}
    assert names(space, {"layers": "6-4-2", "mask.first": 0.0}, target=2) == {"layers", "mask.first"}
    two = {"layers": "6-4-2", "mask.first": 0.2}
    assert names(space, {**two, "mask.last_zero": True}, target=2) == {*two, "mask.last_zero"}
    assert names(space, {**two, "mask.last_zero": False}, target=2) == {*two, "mask.last_zero", "mask.ratio"}


def test_betas_that_do_not_fit_are_not_offered() -> None:
    space = {"weights": {"alpha": [0.1, 0.5, 0.8], "beta": [0.1, 0.3, 0.5]}}
    assert names(space, {"alpha": 0.1}) == {"alpha", "beta"}
    assert names(space, {"alpha": 0.5}) == {"alpha", "beta|alpha=0.5"}
    assert names(space, {"alpha": 0.8}) == {"alpha"}  # one is left
    drawing = walk_chain(search(space), Given({"alpha": 0.8}), target=None)
    assert drawing.settings == {"loss.alpha": 0.8, "loss.beta": 0.1}


def test_one_value_is_taken_not_drawn() -> None:
    space = {
        "layers": {**LAYERS, "at_most": 0},
        "masks": {"first": [0.2], "ratio": [0.5]},
        "settings": {"optimiser.lr": {"values": [1e-3]}},
    }
    drawing = walk_chain(search(space), Given({}), target=2)
    assert (drawing.params, drawing.settings) == (
        {},
        {"layers": [6, 2], "mask_rates": [0.2], "optimiser.lr": 1e-3},
    )


def test_log_ratios_are_over_the_label_loss() -> None:
    config = search({"weights": {"form": "log_ratio", "alpha": RATIOS, "beta": RATIOS}})
    drawing = walk_chain(config, Given({"alpha": 0.125, "beta": 0.25}), target=None)
    assert drawing.settings == {"loss.alpha": 0.090909, "loss.beta": 0.181818}
    unmasked = search({"weights": {"form": "log_ratio", "alpha": RATIOS, "beta": RATIOS}}, over={"mask.rate": 0.0})
    drawing = walk_chain(unmasked, Given({"alpha": 0.125}), target=None)  # beta stays the baseline's 0.1
    assert drawing.settings == {"loss.alpha": 0.1} and drawing.params == {"alpha": 0.125}


@given(st.floats(0.01, 4.0), st.floats(0.01, 4.0))
def test_weights_and_ratios_are_inverse(score: float, feature: float) -> None:
    alpha, beta = weights_of_ratios(score, feature)
    assert alpha + beta <= 0.9
    assert weights_of_ratios(*ratios_of_weights(alpha, beta)) == (alpha, beta)


@given(st.floats(0.0, 0.5), st.floats(0.0, 1.0), st.integers(1, 5), st.booleans())
def test_rates_never_rise_and_lie_on_the_grid(first: float, ratio: float, students: int, last_zero: bool) -> None:
    rates = mask_schedule(first, ratio, students=students, last_zero=last_zero)
    assert len(rates) == students and all(before >= after for before, after in pairwise(rates))
    assert all(rate == on_grid(rate) for rate in rates) and (not last_zero or students == 1 or rates[-1] == 0.0)


def test_the_papers_schedules() -> None:
    assert mask_schedule(0.2, 0.5, students=4, last_zero=False) == (0.2, 0.1, 0.05, 0.0)
    ways = layer_schedules(LayerSpace(first=(12, 12), between=tuple(range(4, 12)), targets=(3,)), 3)
    assert len(ways) == 93 and (12, 12, 9, 6, 3) in ways and ways[0] == (12, 12, 3)


BEAM: dict[str, Any] = {
    "masks": {"first": [0.0, 0.1, 0.2], "last_zero": [True]},
    "weights": {"alpha": [0.1, 0.3], "beta": [0.1, 0.3], "from_student": 2},
    "settings": {"optimiser.lr": {"values": [1e-4, 1e-3]}, "grades.4.optimiser.clip": {"values": [1.0, 10.0]}},
}


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_beam_draws_each_grade_below_its_parent(seed: int) -> None:
    config, parent = search(BEAM, search={"strategy": "grade"}), dict[str, Any]()
    for place in (1, 2, 3):
        drawing = walk_grade(config, Randomly(seed + place), place=place, parent=parent)
        asked, own = set(drawing.params), drawing.settings.keys() - parent.keys()
        assert asked == set(draw_grade(config, Given(drawing.params), place=place, parent=parent))
        name = ("6", "4", "2")[place - 1]
        assert own and all(key.startswith(f"grades.{name}.") for key in own)
        assert ("alpha" in asked, "grades.4.optimiser.clip" in asked) == (place >= 2, place == 2)
        assert "optimiser.lr" in asked
        parent = drawing.settings
    rates = [grade.mask.rate for grade in chain_of(config, parent).grades[1:]]
    assert rates == sorted(rates, reverse=True) and rates[-1] == 0.0
    assert chain_of(config, parent).grades[0] == chain_of(config, {}).grades[0]


@pytest.mark.parametrize(
    ("rate", "asked"),
    [(0.2, {"mask.rate"}), (0.1, {"mask.rate|parent=0.1"}), (0.0, set())],
)
def test_a_child_masks_no_more_than_its_parent(rate: float, asked: set[str]) -> None:
    config = search({"masks": {"first": [0.0, 0.1, 0.2]}}, search={"strategy": "grade"})
    assert set(draw_grade(config, Randomly(0), place=2, parent={"grades.6.mask.rate": rate})) == asked
