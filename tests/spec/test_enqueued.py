"""Points tried first: the paper's setting and its changes, as far as depth and space allow; equal chains once."""

from __future__ import annotations

from typing import Any

from pmd_ray.spec.enqueued import enqueued
from pmd_ray.spec.points import chain_of, settings_of
from pmd_ray.spec.search import SearchConfig, SpaceConfig
from pmd_ray.spec.search_chain import meaning_of

MASKS = {"first": [0.0, 0.1, 0.2, 0.3]}
WEIGHTS = {"alpha": [0.0, 0.1, 0.5], "beta": [0.0, 0.1]}
LAYERS = {"first": [12, 12], "between": [10, 9, 8, 6], "targets": [3, 4]}
CHANGES = [f"paper {how}" for how in ("without masks", "with masks 5", "with masks 10", "with masks 20")]


def search(space: dict[str, Any], **more: Any) -> SearchConfig:
    base = {"preset": "pmd_code", "dataset": "WN18RR", **more.pop("over", {})}
    return SearchConfig(name="s", drafts=(base,), space=SpaceConfig(**space), **more)


def names(config: SearchConfig, target: int | None = None) -> list[str]:
    return [point.name for point in enqueued(config, target=target)]


def test_the_papers_baseline_is_the_paper() -> None:
    config = search({"masks": MASKS, "weights": WEIGHTS})
    points = enqueued(config, target=None)
    assert [point.name for point in points] == ["default", "paper without feature loss", *CHANGES, "masks 30/15/10/0"]
    assert points[0].settings == {}
    assert points[0].params == {
        "mask.first": 0.2,
        "mask.last_zero": True,
        "mask.ratio": 0.5,
        "alpha": 0.1,
        "beta": 0.1,
    }
    rates = {p.name: [g.mask.rate for g in chain_of(config, p.settings).grades[1:]] for p in points}
    assert rates["paper with masks 10"] == [0.1] * 4
    assert rates["masks 30/15/10/0"] == [0.3, 0.15, 0.1, 0.0]


def test_only_what_is_searched_is_changed() -> None:
    assert names(search({"weights": WEIGHTS})) == ["default", "paper without feature loss"]
    init = search({"settings": {"students.init.source": {"values": ["encoder", "teacher"]}}})
    assert names(init) == ["default", "paper from the teacher's layers"]


def test_each_depth_has_its_own() -> None:
    config = search({"layers": LAYERS})
    assert names(config, 3) == ["default", "paper in one step"]
    (slow,) = enqueued(config, target=4)
    assert (slow.name, slow.settings["layers"]) == ("layers 10-8-6-4", [12, 12, 10, 8, 6, 4])


def test_several_objectives_take_points_of_every_depth() -> None:
    config = search({"layers": LAYERS}, search={"objectives": ["metric", "cost"]})
    assert names(config) == [*names(config, 3), *names(config, 4)]


def test_points_outside_have_no_params_and_those_inside_draw_their_chain() -> None:
    config = search({"layers": LAYERS, "masks": MASKS, "weights": WEIGHTS}, over={"layers": [12, 12, 8, 3]})
    points = {point.name: point for point in enqueued(config, target=3)}
    assert list(points)[:2] == ["default", "paper"]
    assert points["paper with masks 5"].params is None  # 0.05 is not among the first rates
    assert points["paper in one step"].params is None  # 12-3 has no pre-distilled grade
    inside = [point for point in points.values() if point.params is not None]
    assert len(inside) >= 4
    for point in inside:
        drawn = settings_of(config, point.params or {}, target=3)
        assert meaning_of(config, drawn) == meaning_of(config, point.settings)


def test_a_shallow_teacher_keeps_its_layers() -> None:
    config = search({"masks": MASKS}, over={"layers": [6, 4, 2], "loss.alpha": 0.5})
    points = {point.name: chain_of(config, point.settings) for point in enqueued(config, target=None)}
    assert {tuple(grade.layers for grade in chain.grades) for chain in points.values()} == {(6, 4, 2)}
    assert [g.mask.rate for g in points["masks 30/15/10/0"].grades] == [0.0, 0.3, 0.0]
    assert [chain.grades[1].loss.alpha for chain in (points["default"], points["paper"])] == [0.5, 0.1]


def test_the_files_own_points_and_switches() -> None:
    own = {"points": {"mine": {"mask_rates": [0.3, 0.3, 0.3, 0.3]}, "same": {}, "deeper": {"layers": [12, 4]}}}
    assert names(search({"masks": MASKS}, enqueue={**own, "paper": False})) == ["default", "mine"]
    assert names(search({"masks": MASKS}, enqueue={"paper": False, "default": False})) == []
    assert "default" not in names(search({"masks": MASKS}, enqueue={"default": False}))


def test_a_beam_keeps_the_baselines_grades() -> None:
    config = search({"masks": MASKS}, over={"layers": [12, 9, 3]}, search={"strategy": "grade"})
    chains = [chain_of(config, point.settings) for point in enqueued(config, target=None)]
    assert len(chains) > 3 and {tuple(grade.layers for grade in chain.grades) for chain in chains} == {(12, 9, 3)}
