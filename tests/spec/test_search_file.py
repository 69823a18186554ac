"""Search files: read with overrides; bad ones end in one report with every error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pmd_ray.spec.errors import SpecError, UserError
from pmd_ray.spec.points import all_params, chain_of
from pmd_ray.spec.search import Choice, SearchBudget, SearchConfig, Span, Steps
from pmd_ray.spec.search_file import find_search, load_search, shipped_searches

PLAIN: dict[str, Any] = {
    "baseline": {"layers": [4, 4, 2], "dataset": "cldr"},
    "space": {"masks": {"first": [0.1, 0.2]}},
    "budget": {"trials": 3},
}
LAYERS = {"first": [4], "between": [3], "targets": [2]}
LOG = {"low": 0.1, "high": 1.0, "log": True}


def written(folder: Path, given: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(given if isinstance(given, str) else yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return str(path)


def loaded(folder: Path, *overrides: str, **changes: Any) -> SearchConfig:
    content = {key: value for key, value in {**PLAIN, **changes}.items() if value is not None}
    return load_search(written(folder, content), overrides)


def complaints(folder: Path, *overrides: str, **changes: Any) -> list[str]:
    """All errors of a file that differs from the plain one; None leaves a key out."""
    with pytest.raises(SpecError) as caught:
        loaded(folder, *overrides, **changes)
    assert all("\n" not in error for error in caught.value.errors)
    return caught.value.errors


def setting(**entries: Any) -> dict[str, Any]:
    return {"space": {"settings": {key.replace("__", "."): value for key, value in entries.items()}}}


def test_a_plain_file(tmp_path: Path) -> None:
    search = loaded(tmp_path)
    assert (search.name, search.about, search.seed, search.metric) == ("mine", "", 0, "mrr")
    assert (search.search.strategy, search.search.sampler, search.confirm.seeds) == ("chain", "tpe", (1, 2, 3))
    assert search.drafts == (PLAIN["baseline"],)
    assert SearchConfig.model_validate_json(search.model_dump_json()) == search


def test_every_key_is_read(tmp_path: Path) -> None:
    search = loaded(
        tmp_path,
        name="other",
        about="Which\n  masks?",
        settings={"optimiser.epochs": 3},
        seed=7,
        metric="hits@1",
        space={
            "layers": LAYERS,
            "masks": {"first": {"low": 0, "high": 0.3, "step": 0.1}},
            "weights": {"form": "log_ratio", "alpha": LOG, "beta": [0.1, 0.2]},
            "settings": {
                "optimiser.lr": ["1e-4", "1e-3"],  # as YAML reads 1e-4
                "loss.feature.normalise": {"values": ["l2", "none"], "when": {"loss.feature": "mgfd"}},
            },
        },
        roles={"nuisance": ["optimiser.lr"]},
        search={"sampler": "nsga2", "objectives": ["metric", "parameters"]},
        enqueue={"paper": False, "points": {"mine": {"mask.rate": 0.0}}},
        budget={"hours": 2, "stages": 40},
        confirm={"best": 2, "seeds": [8, 9], "settings": {}},
    )
    assert (search.name, search.about, search.seed, search.metric) == ("other", "Which masks?", 7, "hits@1")
    space = search.space
    assert space.masks and isinstance(space.masks.first, Steps) and space.masks.first.values() == (0.0, 0.1, 0.2, 0.3)
    assert space.weights and isinstance(space.weights.alpha, Span) and isinstance(space.weights.beta, Choice)
    assert space.settings["optimiser.lr"].values.values() == (1e-4, 1e-3)
    assert space.settings["loss.feature.normalise"].when == {"loss.feature": ("mgfd",)}
    assert (search.nuisance, search.budget) == (("optimiser.lr",), SearchBudget(hours=2, stages=40))
    assert chain_of(search, {}).grades[0].optimiser.epochs == 3 and chain_of(search, {}).seed == 7


def test_overrides_change_any_part_and_any_setting_of_the_chain(tmp_path: Path) -> None:
    search = loaded(
        tmp_path,
        "search.sampler=random",
        "budget.trials=5",
        "seed=4",
        "space.masks.first=[0.1,0.3]",
        "space.settings.optimiser.lr=[1e-4,1e-3]",
        "confirm.settings.optimiser.schedule=cosine",
        "optimiser.epochs=2",
        "settings.optimiser.batch=8",
        "grades.2.optimiser.clip=1.0",
    )
    assert (search.search.sampler, search.budget.trials, search.seed) == ("random", 5, 4)
    assert search.space.masks and search.space.masks.first.values() == (0.1, 0.3)
    assert search.space.settings["optimiser.lr"].values.values() == (1e-4, 1e-3)
    assert search.confirm.settings == {"optimiser.schedule": "cosine"}
    last = chain_of(search, {}).grades[-1].optimiser
    assert (last.epochs, last.batch, last.clip) == (2, 8, 1.0)


def test_null_takes_a_parameter_out(tmp_path: Path) -> None:
    changes = setting(optimiser__lr=[1e-4, 1e-3], optimiser__batch=[8, 16])
    search = loaded(tmp_path, "space.settings.optimiser.lr=null", "space.masks=null", **changes)
    assert list(search.space.settings) == ["optimiser.batch"] and search.space.masks is None


def test_a_baseline_beside_the_file_or_by_name(tmp_path: Path) -> None:
    (tmp_path / "chain.yaml").write_text("layers: [3, 2]\ndataset: cldr\n", encoding="utf-8")
    assert [grade.layers for grade in chain_of(loaded(tmp_path, baseline="chain.yaml"), {}).grades] == [3, 2]
    assert loaded(tmp_path, baseline="pmd_code", settings={"dataset": "cldr"}).drafts[0] == {"preset": "pmd_code"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": None}, "space: missing or empty; say what may vary under layers, masks, weights or settings"),
        ({"space": {}}, "space: missing or empty"),
        ({"space": {"settings": {}}}, "space: missing or empty"),
        ({"space": 3}, "space: must map layers, masks, weights or settings to what they may be, got 3"),
        ({"space": {"masks": {"first": [0.2], "ratio": [0.5], "last_zero": [True]}}}, "space: holds one point only"),
        ({"space": {"maks": {}}}, "space.maks: unknown key; did you mean 'masks'?"),
        ({"space": {"optimiser.lr": [1, 2]}}, "space.optimiser.lr: unknown key; a setting goes under space.settings"),
        ({"space": {"masks": {}}}, "space.masks.first: is missing"),
        ({"space": {"masks": {"first": 0.2}}}, "space.masks.first: must be a list of values or a range, as in [0.1"),
        ({"space": {"masks": {"first": []}}}, "space.masks.first: must list one value or more, got []"),
        ({"space": {"masks": {"first": [0.6]}}}, "space.masks.first: must be numbers from 0 to 0.5, got [0.6]"),
        (
            {"space": {"masks": {"first": {"low": 0.3, "high": 0.1, "step": 0.1}}}},
            "space.masks.first: low must not be above high, got 0.3 > 0.1",
        ),
        (
            {"space": {"masks": {"first": {"low": 0.1, "high": 0.3, "step": 1e-9}}}},
            "space.masks.first: step makes more than 10,000 values, got 1e-09; raise it",
        ),
        (
            {"space": {"masks": {"first": {"low": 0.1, "high": 0.3}}}},
            "space.masks.first: must be a list or have a step",
        ),
        ({"space": {"masks": {"first": {"low": 0.1, "hgh": 1}}}}, "space.masks.first.hgh: unknown key; did you mean"),
        ({"space": {"masks": {"first": {"low": 0.1, "log": True}}}}, "space.masks.first.high: missing"),
        (
            {"space": {"masks": {"first": [0.1], "ratios": [1]}}},
            "space.masks.ratios: unknown key; did you mean 'ratio'",
        ),
        ({"space": {"layers": {"first": [4], "targets": [4]}}}, "space.layers: targets must be below 4, the last of"),
        ({"space": {"layers": {"first": [2, 4], "targets": [1]}}}, "space.layers: first must not rise, got [2, 4]"),
        ({"space": {"layers": {**LAYERS, "at_least": 2}}}, "space.layers: between holds 1 depths above target 2"),
        ({"space": {"weights": {"form": "gird"}}}, "space.weights.form: must be 'grid' or 'log_ratio', got 'gird'"),
        ({"space": {"weights": {"alpha": [0.1, 0.9], "beta": [0.1]}}}, "space.weights: alpha + beta may reach 0.9, so"),
        (
            {"space": {"weights": {"alpha": [-0.1, 0.2]}}},
            "space.weights.alpha: must be numbers from 0, got [-0.1, 0.2]",
        ),
        (
            {"space": {"weights": {"form": "log_ratio", "alpha": {**LOG, "high": 9.0}, "beta": LOG}}},
            "space.weights: ratios to the label loss may add up to 9 (alpha + beta = 0.9), got 9 + 1",
        ),
        (
            {"space": {"weights": {"alpha": LOG, "beta": [0.1]}}},
            "space.weights: alpha + beta may reach 0.9, got 1 + 0.1; lower the upper ends",
        ),
        (
            {"space": {"weights": {"alpha": [0.1, 0.8], "beta": [0.1]}}, "settings": {"loss.beta": 0.2}},
            "space.weights.alpha: alpha + beta may reach 0.9, got up to 0.8 beside the baseline's beta 0.2",
        ),
        (
            {"space": {"weights": {"alpha": [0.1, 0.2], "beta": [0.1], "from_student": 5}}},
            "space.weights: no student that they apply to has a teacher",
        ),
        (
            {"space": {"weights": {"form": "log_ratio"}}, "settings": {"loss.combination": "additive"}},
            "space.weights.form: log_ratio is over the label loss's weight",
        ),
        (setting(optimiser__lrr=[1, 2]), "space.settings.optimiser.lrr: optimiser.lrr: unknown key; did you mean 'lr'"),
        (
            setting(loss__feature=["mgdf", "pkd"]),
            "space.settings.loss.feature: loss.feature: no loss 'mgdf'; there are",
        ),
        (setting(mask__policy=["unifrm"]), "space.settings.mask.policy: mask.policy: no mask policy 'unifrm'; there"),
        (setting(init__layer_map=["papper"]), "space.settings.init.layer_map: init.layer_map: no layer map 'papper'"),
        (setting(optimiser__lr=[2.0, 0.1]), "space.settings.optimiser.lr: optimiser.lr: must be less than or equal to"),
        (setting(optimiser__lr=3), "space.settings.optimiser.lr.values: must be a list of values or a range"),
        (setting(optimiser__lr=[0.1, 0.1]), "space.settings.optimiser.lr.values: each value once, got 0.1 twice"),
        (
            setting(optimiser__lr={"low": 1e-3, "high": 1e-5, "log": True}),
            "space.settings.optimiser.lr.values: low must be below high, got 0.001 and 1e-05",
        ),
        (setting(optimiser__lr={"low": 0, "high": 1, "log": True}), "space.settings.optimiser.lr.values: a log range"),
        (
            setting(optimiser__epochs={"low": 0.5, "high": 3, "whole": True}),
            "space.settings.optimiser.epochs.values: whole needs whole ends, got 0.5 and 3",
        ),
        (setting(optimiser__micro_batch=[1, 2]), "space.settings.optimiser.micro_batch: is never drawn, as nothing"),
        (setting(loss__alpha=[0.1, 0.2]), "space.settings.loss.alpha: give it under space.weights, which keeps"),
        (setting(mask_rates=[[0.1, 0.1]]), "space.settings.mask_rates: give mask schedules under space.masks"),
        (setting(layers=[[4, 2]]), "space.settings.layers: give layer schedules under space.layers"),
        (setting(seed=[1, 2]), "space.settings.seed: a search has one seed; give it under seed"),
        (setting(dataset=["umls", "cldr"]), "space.settings.dataset: values on two graphs cannot be compared"),
        (setting(evaluation__ties=["mean"]), "space.settings.evaluation.ties: values measured in two ways"),
        (setting(grades__9__optimiser__lr=[1e-3]), "space.settings.grades.9.optimiser.lr: grades.9: no such grade"),
        (
            {"space": {"layers": LAYERS, "settings": {"grades.4.optimiser.lr": [1e-3]}}},
            "space.settings.grades.4.optimiser.lr: not every chain has grade 4 where layers are searched; use",
        ),
        (setting(students__encoder__towers=["shared"]), "space.settings.students.encoder.towers: is one for the whole"),
        (
            setting(loss__score__temperature={"values": [1.0, 2.0], "when": {"loss.score.spce": ["softmax_kl"]}}),
            "space.settings.loss.score.temperature.when.loss.score.spce: no such setting, neither searched nor of the "
            "chain; did you mean 'loss.score.space'?",
        ),
        (
            setting(
                loss__score__temperature={"values": [1.0, 2.0], "when": {"loss.score.space": "softmax_kl"}},
                loss__score__space=["logits", "softmax_kl"],
            ),
            "space.settings.loss.score.temperature.when.loss.score.space: is not drawn before loss.score.temperature",
        ),
        (
            setting(
                loss__score__space=["logits", "cosine"],
                loss__score__temperature={"values": [1.0, 2.0], "when": {"loss.score.space": "softmax_kl"}},
            ),
            "space.settings.loss.score.temperature.when.loss.score.space: none of ['softmax_kl'] is among its values",
        ),
        (
            setting(loss__score__temperature={"values": [1.0, 2.0], "when": {"loss.score.space": "softmax_kl"}}),
            "space.settings.loss.score.temperature: is never drawn",
        ),
        (
            {
                **setting(optimiser__epochs=[3, 10], optimiser__schedule_epochs=[5, 10, 20]),
                "settings": {"optimiser.epochs": 3},
            },
            "space: a point of it cannot be built: optimiser: schedule_epochs must be at least epochs, got 5 < 10",
        ),
        ({"metric": "mrrr"}, "metric: must be mrr, hits@1, hits@3, hits@10, got 'mrrr'; did you mean 'mrr'?"),
        ({"seed": -1}, "seed: must be a whole number from 0, got -1"),
        ({"seed": 1}, "confirm.seeds: must be fresh, 1 is the search's own"),
        ({"settings": {"seed": 3}}, "seed: the search has one, for sampling and training"),
        ({"name": "../x"}, "name: must be letters"),
        ({"search": {"sampler": "tpee"}}, "search.sampler: must be 'tpe', 'nsga2', 'gp', 'cmaes'"),
        ({"search": {"pruner": "median"}}, "search.pruner: must be 'none', 'asha', 'hyperband' or 'wilcoxon'"),
        ({"search": {"stratgy": "grid"}}, "search.stratgy: unknown key; did you mean 'strategy'?"),
        (
            {"search": {"objectives": ["metric", "latency"], "pruner": "asha"}},
            "search: pruner asha ranks trials by the metric alone",
        ),
        ({"search": {"objectives": ["latency"]}}, "search: objectives must start with metric"),
        (
            {"search": {"sampler": "gp"}},
            "search.sampler: gp models numbers, and every parameter of the space is one of",
        ),
        ({"search": {"sampler": "cmaes"}}, "search.sampler: cmaes models numbers"),
        ({"search": {"beam": 2}}, "search.beam: only strategy grade has it, got strategy: chain"),
        (
            {"search": {"strategy": "grid", "sampler": "gp"}},
            "search.sampler: strategy grid chooses without one, got gp",
        ),
        (
            {"search": {"strategy": "grid"}, "space": {"weights": {"form": "log_ratio", "alpha": LOG}}},
            "space.weights.alpha: a range without steps has no end of values to list",
        ),
        (
            {"search": {"strategy": "grade"}, "space": {"layers": LAYERS}},
            "space.layers: strategy grade ranks children of one depth, schedules differ in it; use strategy: chain",
        ),
        (
            {"search": {"strategy": "grade"}, **setting(encoder__towers=["shared", "separate"])},
            "space.settings.encoder.towers: is one for the whole chain, strategy grade draws by grade",
        ),
        ({"budget": None}, "budget: missing; give trials, hours or stages"),
        ({"budget": {}}, "budget: missing; give trials, hours or stages"),
        ({"budget": {"trials": 0}}, "budget.trials: must be greater than or equal to 1, got 0"),
        ({"budget": {"hours": 0}}, "budget.hours: must be greater than 0, got 0"),
        ({"budget": {"trial": 3}}, "budget.trial: unknown key; did you mean 'trials'?"),
        ({"confirm": {"seeds": [1, 1]}}, "confirm.seeds: must list whole numbers from 0, each once, got [1, 1]"),
        ({"confirm": {"settings": {"optimiser.schedul": 1}}}, "confirm.settings: optimiser.schedul: unknown key"),
        ({"enqueue": {"points": {"a": {"mask.rte": 1}}}}, "enqueue.points.a: mask.rte: unknown key; did you mean"),
        ({"enqueue": {"points": {"a": {"layers": [4, 3]}}}}, "enqueue.points.a: ends in 3 layers, the search's chains"),
        ({"enqueue": {"points": {"a": 3}}}, "enqueue.points.a: must be settings"),
        (
            {"roles": {"nuisance": ["mask.frist"]}},
            "roles.nuisance: no parameter 'mask.frist' in the space; did you mean",
        ),
        ({"roles": {"nuisanc": []}}, "roles.nuisanc: unknown key; did you mean 'nuisance'?"),
        ({"baseline": None}, "baseline: missing; name a chain (demo), a preset (pmd_code) or a chain file"),
        ({"baseline": "dmo"}, "baseline: no chain file 'dmo'; give a path"),
        ({"baseline": {"layers": [4, 2], "mask.rte": 3}}, "mask.rte: unknown key; did you mean 'rate'?"),
        ({"bugdet": {}}, "bugdet: unknown key; did you mean 'budget'? (keys: name, about, baseline"),
        ({"optimiser.lr": 1}, "optimiser.lr: unknown key; a setting of the chains goes under settings"),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    found = complaints(tmp_path, **changes)
    assert any(error.startswith(said) for error in found), found


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    found = complaints(
        tmp_path,
        "masks.first=3",
        "space.settings.x",
        space={"masks": {"first": [0.7]}, "settings": {"optimiser.lrr": [1, 2], "loss.alpha": [0.1]}},
        metric="auc",
        search={"sampler": "grdi"},
        budget={"trials": 0},
        enqueue={"points": {"far": {"layers": [4, 3]}}},
    )
    for said in (
        "masks: unknown key",
        "'space.settings.x': write KEY=VALUE",
        "space.masks.first: must be numbers",
        "metric: must be",
        "search.sampler: must be",
        "budget.trials: must be",
    ):
        assert any(error.startswith(said) for error in found), (said, found)
    found = complaints(tmp_path, **setting(optimiser__lrr=[1, 2], loss__alpha=[0.1]), seed=2)
    assert [error.partition(": ")[0] for error in found] == [
        "confirm.seeds",
        "space.settings.optimiser.lrr",
        "space.settings.loss.alpha",
    ]


def test_an_option_that_the_drawn_loss_has_not_is_not_drawn(tmp_path: Path) -> None:
    space = setting(loss__feature=["mgfd", "pkd"], loss__feature__random_rate=[0.1, 0.2])
    search = loaded(tmp_path, settings={"loss.feature.when_unmasked": "random"}, **space)
    asked = [list(point) for point in all_params(search, target=None)]
    assert asked == [["loss.feature", "loss.feature.random_rate"]] * 2 + [["loss.feature"]]


def test_a_point_outside_the_space_is_no_error(tmp_path: Path) -> None:
    search = loaded(tmp_path, enqueue={"points": {"high": {"mask_rates": [0.4, 0.4]}}})
    assert search.enqueue.points["high"] == {"mask_rates": [0.4, 0.4]}


@pytest.mark.parametrize("strategy", ["grid", "grade"])
def test_what_ends_by_itself_needs_no_budget(tmp_path: Path, strategy: str) -> None:
    assert loaded(tmp_path, budget=None, search={"strategy": strategy}).budget == SearchBudget()


def test_meaning_is_what_decides_points_and_values(tmp_path: Path) -> None:
    here = loaded(tmp_path).meaning
    assert loaded(tmp_path, "budget.trials=9", "confirm.best=3", about="x").meaning == here
    assert loaded(tmp_path, "space.masks.first=[0.1]").meaning != here
    assert loaded(tmp_path, "optimiser.epochs=2").meaning != here


def test_which_file(tmp_path: Path) -> None:
    for name in shipped_searches():
        assert find_search(name) == find_search(f"search_spaces/{name}.yaml")
    with pytest.raises(UserError, match=r"no search file 'quickstrt'; .*did you mean 'quickstart'\?"):
        find_search("quickstrt")
    with pytest.raises(UserError, match="is a folder"):
        find_search(str(tmp_path))
    with pytest.raises(SpecError, match="is empty; a search file needs a baseline, a space and a budget"):
        load_search(written(tmp_path, ""))
