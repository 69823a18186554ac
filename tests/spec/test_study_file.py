"""Ablation files: variants, factors, seeds and questions; bad files end in one report with every error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.own_study import PLAIN, chains_of, complaints, loaded, written

from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import SpecError, UserError
from pmd_ray.spec.study import BASELINE, CompareConfig, StudyConfig
from pmd_ray.spec.study_file import SHIPPED, find_study, load_study


def test_a_plain_file(tmp_path: Path) -> None:
    study = loaded(tmp_path)
    assert (study.name, study.about, study.seeds) == ("mine", "", (0, 1))
    assert [variant.name for variant in study.variants] == [BASELINE, "no_mgfd", "no_score"]
    assert study.compare == (CompareConfig(),)
    assert study.pairs(study.compare[0]) == [("no_mgfd", BASELINE), ("no_score", BASELINE)]
    assert [(run.variant, run.seed, run.chain.seed) for run in study.runs()] == [
        (name, seed, seed) for name in (BASELINE, "no_mgfd", "no_score") for seed in (0, 1)
    ]
    assert study.variant("no_mgfd").difference == {"mask.rate": 0.0}
    with pytest.raises(KeyError):
        study.variant("no_mgdf")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": None}, "seeds: missing; give at least one"),
        ({"seeds": []}, "seeds: missing; give at least one"),
        ({"seeds": [0, 1, 0, 1, 2]}, "seeds: 0, 1 given twice; the same seed is the same run"),
        ({"seeds": 3}, "seeds: must list whole numbers from 0, as in [0, 1, 2], got 3"),
        ({"seeds": [0, -1]}, "seeds: must list whole numbers from 0"),
        ({"seeds": [0, True]}, "seeds: must list whole numbers from 0"),
        ({"seeds": [0.5]}, "seeds: must list whole numbers from 0"),
        ({"seeds": [2**63]}, "seeds: must list whole numbers from 0"),
        ({"baseline": None}, "baseline: missing; name a chain (demo), a preset (pmd_code) or a chain file"),
        ({"baseline": "dmo"}, "baseline: no chain file 'dmo'; give a path"),
        ({"baseline": "x" * 300}, "baseline: no chain file 'xxx"),
        ({"baseline": {**PLAIN["baseline"], "mask.rte": 1}}, "mask.rte: unknown key; did you mean 'rate'?"),
        ({"settings": [1]}, "settings: must map settings to values"),
        ({"settings": {"seed": 3}}, "seed: a study has seeds; give them there"),
        ({"settings": {"optimiser.lrr": 1}}, "optimiser.lrr: unknown key; did you mean 'lr'?"),
        ({"name": ""}, "name: must be letters"),
        ({"name": "../elsewhere"}, "name: must be letters"),
        ({"name": 5}, "name: must be letters"),
        ({"varaints": {}}, "varaints: unknown key; did you mean 'variants'? (keys: name, about, baseline"),
        ({"optimiser.lr": 1e-4}, "optimiser.lr: unknown key; a setting of the chains goes under settings"),
        ({"layers": [4, 2]}, "layers: unknown key; a setting of the chains goes under settings"),
        ({"--set": {"layers": [4, 2]}}, "--set: unknown key"),
        ({"variants": None}, "variants: missing; name at least one"),
        ({"variants": {}}, "variants: missing; name at least one"),
        ({"variants": ["no_mgfd"]}, "variants: must map names to differences"),
        ({"variants": {"a": {}}}, "variants.a: must map settings to values"),
        ({"variants": {"a": None}}, "variants.a: must map settings to values"),
        ({"variants": {"a": 0.5}}, "variants.a: must map settings to values"),
        ({"variants": {"baseline": {"mask.rate": 0.3}}}, "variants.baseline: the baseline is given under baseline"),
        ({"variants": {"a/b": {"mask.rate": 0.3}}}, "variants.a/b: a name must be letters, digits"),
        ({"variants": {"..": {"mask.rate": 0.3}}}, "variants...: a name must be letters, digits"),
        ({"variants": {"a": {"mask.rte": 0.3}}}, "variants.a: mask.rte: unknown key; did you mean 'rate'?"),
        (
            {"variants": {"a": {"grades.3.mask.rate": 0}}},
            "variants.a: grades.3: no such grade; there are teacher, 4, 2",
        ),
        ({"variants": {"a": {"mask.rate": 2}}}, "variants.a: mask.rate: must be in [0, 1), got 2.0"),
        ({"variants": {"a": {"loss.score": "lkdd"}}}, "variants.a: loss.score: no loss 'lkdd'; there are"),
        ({"variants": {"a": {"layers": [4, 8]}}}, "variants.a: grades.8.layers: a student must not be deeper"),
        ({"variants": {"a": {"loss.alpha": 0.1}}}, "variants.a: means the same as the baseline: what it sets changes"),
        ({"variants": {"a": {"evaluation.ties": "mean"}}}, "variants.a: means the same as the baseline"),
        (
            {"variants": {"a": {"loss.beta": 0}, "b": {"loss.beta": 0, "loss.feature.normalise": "none"}}},
            "variants.b: means the same as variant 'a': what it sets changes nothing",
        ),
        (
            {"variants": {"a": {"dataset.source": "umls"}}},
            "variants.a.dataset.source: all variants are compared on the",
        ),
        ({"variants": {"a": {"from": "b", "mask.rate": 0}}}, "variants.a.from: no variant 'b'"),
        (
            {"variants": {"one": {"from": "tow", "mask.rate": 0}, "two": {"mask.rate": 0.3}}},
            "variants.one.from: no variant 'tow'; did you mean 'two'?",
        ),
        ({"variants": {"a": {"from": ["b"], "mask.rate": 0}}}, "variants.a.from: no variant '['b']'"),
        ({"variants": {"a": {"from": "a", "mask.rate": 0}}}, "variants.a.from: goes in a circle (a -> a)"),
        ({"roles": {"scientifc": []}}, "roles.scientifc: unknown key; did you mean 'scientific'?"),
        ({"roles": []}, "roles: must be settings"),
        ({"roles": {"fixed": ["mask"]}}, "variants.no_mgfd.mask.rate: roles.fixed says that no variant may change it"),
        ({"roles": {"scientific": ["loss"]}}, "variants.no_mgfd.mask.rate: is not among roles.scientific (loss)"),
        (
            {"roles": {"nuisance": {"loss.alpha": [0.1, 0.2]}}},
            "variants.no_score.loss.alpha: roles.nuisance tunes it for every variant alike",
        ),
        ({"roles": {"nuisance": {"optimiser.lr": [1e-4]}}}, "roles.nuisance.optimiser.lr: give two values or more"),
        ({"roles": {"nuisance": {"optimiser.lr": 1e-4}}}, "roles.nuisance.optimiser.lr: must be a list"),
        ({"roles": {"nuisance": {"optimiser.lrr": [1, 2]}}}, "optimiser.lrr: unknown key; did you mean 'lr'?"),
        ({"compare": "mrr"}, "compare: must list questions"),
        ({"compare": {"metrc": "mrr"}}, "compare.0.metrc: unknown key; did you mean 'metric'?"),
        ({"compare": [{"metric": "auc"}]}, "compare.0.metric: must be 'mrr'"),
        ({"compare": [{}, {"alternative": "better"}]}, "compare.1.alternative: must be 'two-sided'"),
        ({"compare": [{"grade": "first"}]}, "compare.0.grade: must be last, each or a number of layers, got 'first'"),
        ({"compare": [{"margin": 0}]}, "compare.0.margin: must be greater than 0"),
        (
            {"compare": [{"pairs": [["no_mgdf", "baseline"]]}]},
            "compare.0.pairs: no variant 'no_mgdf'; did you mean 'no_mgfd'?",
        ),
        ({"compare": [{"pairs": [["no_mgfd", "no_mgfd"]]}]}, "compare.0.pairs: 'no_mgfd' is compared with itself"),
        ({"compare": [{"pairs": ["no_mgfd"]}]}, "compare.0.pairs.0: must be a list"),
        ({"compare": [{"pairs": [["no_mgfd"]]}]}, "compare.0.pairs.0.1: "),
        ({"budget": {"hours": 0}}, "budget.hours: must be greater than 0"),
        ({"budget": {"hours": "many"}}, "budget.hours: must be a number, got 'many'"),
        ({"budget": {"stages": 0}}, "budget.stages: must be greater than or equal to 1"),
        ({"budget": {"euros": 5}}, "budget.euros: unknown key"),
        ({"budget": 5}, "budget: must be settings"),
        ({"factors": ["mask"]}, "factors: must map factors to levels"),
        ({"factors": {}}, "factors: must map factors to levels"),
        ({"factors": {"mask": {"on": {}}}}, "factors.mask: must map two levels or more"),
        ({"factors": {"mask": {"a": {}, "b": 0.1}}}, "factors.mask.b: must map settings to values, got 0.1"),
        ({"factors": {"mask": {"a": {}, "b": False}}}, "factors.mask.b: must map settings to values, got False"),
        ({"factors": {"mask": {"a": {}, "b/c": {"mask.rate": 0.3}}}}, "factors: 'mask=b/c' is no name"),
        (
            {"factors": {f: {str(n): {"loss.alpha": n / 9} for n in range(5)} for f in "abc"}},
            "factors: 125 combinations, at most 100",
        ),
        (
            {"factors": {"m": {"a": {}, "b": {"mask.rte": 1}}}},
            "variants.m=b: mask.rte: unknown key; did you mean 'rate'?",
        ),
        (
            {"variants": {"m=a": {"mask.rate": 0.3}}, "factors": {"m": {"a": {}, "b": {"loss.alpha": 0.0}}}},
            "factors: 'm=a' is also a variant's name",
        ),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert any(error.startswith(said) for error in complaints(tmp_path, **changes)), complaints(tmp_path, **changes)


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    found = complaints(
        tmp_path,
        "loss.alpha",
        seeds=[1, 1],
        budget={"hours": -1},
        compare=[{"metric": "auc"}, {"pairs": [["x", "baseline"]]}],
        variants={"a": {"mask.rte": 1}, "b": {"loss.alpha": 7}},
        roles={"fixd": []},
        extra=1,
    )
    assert len(found) == 9 and len(set(found)) == 9
    for start in (
        "'loss.alpha': write",
        "seeds",
        "budget",
        "compare.0",
        "compare.1",
        "variants.a",
        "variants.b",
        "roles",
        "extra",
    ):
        assert any(error.startswith(start) for error in found), start


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; an ablation file needs a baseline, variants and seeds"),
        ("- a\n", "must be a mapping of settings, as in baseline: demo, got a list"),
        ("seeds: [0]\nseeds: [1]\n", "line 2, column 1: key 'seeds' is given twice"),
        ("variants:\n  a: {mask.rate: 0}\n  a: {mask.rate: 1}\n", "line 3, column 3: key 'a' is given twice"),
        ("variants:\n  1: {mask.rate: 0}\n  '1': {mask.rate: 1}\n", "line 3, column 3: key '1' is given twice"),
        ("variants: [", "line 1, column 12: "),
    ],
)
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_study(written(tmp_path, text))
    (error,) = caught.value.errors
    assert error.startswith(said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("paper_table5", "no ablation file 'paper_table5'; give a path or a shipped one .*did you mean 'paper_table"),
        ("elsewhere/quickstart.yaml", "no ablation file 'elsewhere/quickstart.yaml'"),
        ("x" * 300, "no ablation file 'xxx"),
        (".", "'.' is a folder; give the ablation file in it"),
    ],
)
def test_no_such_file(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_study(name)


def test_a_file_of_ones_own_comes_before_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_study("ablations/quickstart.yaml") == find_study("quickstart.yaml") == SHIPPED / "quickstart.yaml"
    written(tmp_path, PLAIN, "quickstart")
    assert load_study("quickstart").seeds == (0, 1) and len(load_study("quickstart").variants) == 3
    (tmp_path / "paper_set").mkdir()
    assert find_study("paper_set") == SHIPPED / "paper_set.yaml"


def test_a_baseline_file_is_sought_beside_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    written(tmp_path / "there", {"layers": [3, 3, 2]}, "chain.yaml")
    study = written(tmp_path / "there", {**PLAIN, "baseline": "chain.yaml"})
    monkeypatch.chdir(tmp_path)
    assert [grade.layers for grade in chains_of(load_study(study))[BASELINE].grades] == [3, 3, 2]


def test_settings_come_after_the_baseline_and_before_variants(tmp_path: Path) -> None:
    study = loaded(
        tmp_path,
        settings={"loss.alpha": 0.3, "mask.rate": 0.15},
        variants={"a": {"loss.alpha": 0.2}, "b": {"grades.4.mask.rate": 0.4}},
    )
    found = {name: [(g.loss.alpha, g.mask.rate) for g in chain.grades] for name, chain in chains_of(study).items()}
    assert found[BASELINE] == [(0.3, 0.0), (0.3, 0.15), (0.3, 0.15)]
    assert found["a"] == [(0.2, 0.0), (0.2, 0.15), (0.2, 0.15)]
    assert found["b"] == [(0.3, 0.0), (0.3, 0.4), (0.3, 0.15)]


def test_a_variant_derives_from_another(tmp_path: Path) -> None:
    study = loaded(
        tmp_path,
        variants={
            "c": {"from": "b", "mask.rate": 0.3},
            "a": {"mask.rate": 0.4, "loss.alpha": 0.0},
            "b": {"from": "a", "loss": {"alpha": 0.2}, "loss.beta": 0.0},
            "d": {"from": "baseline", "loss.score": "lkd"},
        },
    )
    assert [(v.name, v.parent) for v in study.variants] == [
        (BASELINE, None),
        ("c", "b"),
        ("a", BASELINE),
        ("b", "a"),
        ("d", BASELINE),
    ]
    last = chains_of(study)["c"].grades[-1]
    assert (last.mask.rate, last.loss.alpha, last.loss.beta) == (0.3, 0.2, 0.0)
    assert study.variant("c").difference == {"mask.rate": 0.3, "loss.alpha": 0.2, "loss.beta": 0.0}


def test_a_circle_is_told_by_those_in_it_alone(tmp_path: Path) -> None:
    ring = {name: {"from": above, "mask.rate": 0.3} for name, above in (("a", "b"), ("b", "c"), ("c", "b"))}
    assert complaints(tmp_path, variants=ring) == [
        "variants.b.from: goes in a circle (b -> c -> b)",
        "variants.c.from: goes in a circle (c -> b -> c)",
    ]


def test_factors_make_cells_and_equal_cells_are_aliases(tmp_path: Path) -> None:
    study = loaded(
        tmp_path,
        variants={"half": {"mask.rate": 0.5}},
        factors={
            "mask": {False: {"mask.rate": 0.0}, True: None, "half": {"mask.rate": 0.5}},
            "teacher": {"same": {}, "clean": {"mask.teacher_input": "clean"}},
        },
    )
    aliases = {v.name: v.alias_of for v in study.variants}
    assert aliases == {
        BASELINE: None,
        "half": None,
        "mask=off,teacher=same": None,
        "mask=off,teacher=clean": "mask=off,teacher=same",
        "mask=on,teacher=same": BASELINE,
        "mask=on,teacher=clean": None,
        "mask=half,teacher=same": "half",
        "mask=half,teacher=clean": None,
    }
    assert study.variant("mask=half,teacher=clean").factors == {"mask": "half", "teacher": "clean"}
    assert {run.variant for run in study.runs()} == {name for name, alias in aliases.items() if alias is None}
    assert [name for name, _ in study.pairs(CompareConfig())] == [
        "half",
        "mask=off,teacher=same",
        "mask=on,teacher=clean",
        "mask=half,teacher=clean",
    ]


def test_levels_that_are_numbers_keep_their_names(tmp_path: Path) -> None:
    factors = {"alpha": {0: {"loss.alpha": 0.0}, 1: {"loss.alpha": 0.2}}}
    study = loaded(tmp_path, variants={}, factors=factors)
    assert [v.name for v in study.variants] == [BASELINE, "alpha=0", "alpha=1"]


def test_nuisance_settings_are_tried_for_every_variant(tmp_path: Path) -> None:
    study = loaded(tmp_path, roles={"nuisance": {"optimiser.lr": [1e-4, 3e-4], "loss.beta": [0.1, 0.2]}})
    assert [arm.label for arm in study.variants[1].arms] == [
        f"optimiser.lr={lr},loss.beta={beta}" for lr in (1e-4, 3e-4) for beta in (0.1, 0.2)
    ]
    assert len(list(study.runs())) == 3 * 4 * 2
    for variant in study.variants:
        assert [(arm.chain.grades[-1].optimiser.lr, arm.chain.grades[-1].loss.beta) for arm in variant.arms] == [
            (lr, beta) for lr in (1e-4, 3e-4) for beta in (0.1, 0.2)
        ]


def test_roles_speak_of_a_setting_however_it_is_addressed(tmp_path: Path) -> None:
    for difference in (
        {"grades.4.mask.rate": 0.3},
        {"mask_rates": [0.3, 0.1]},
        {"grades": {"*": {"mask": {"rate": 0.3}}}},
    ):
        (error,) = complaints(tmp_path, variants={"a": difference}, roles={"fixed": ["mask.rate"]})
        assert error.startswith("variants.a.") and error.endswith("roles.fixed says that no variant may change it")
        assert loaded(tmp_path, variants={"a": difference}, roles={"scientific": ["mask"]}).roles.scientific == (
            "mask",
        )


CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "mask.rate": st.sampled_from([0.0, 0.05, 0.3]),
    "loss.alpha": st.sampled_from([0.0, 0.2, 0.4]),
    "loss.beta": st.sampled_from([0.0, 0.3]),
    "teacher": st.sampled_from(["baseline", "pre_distilled", "none"]),
    "loss.score": st.sampled_from(["lkd", {"name": "scores", "space": "cosine"}]),
    "loss.feature": st.sampled_from(["pkd", {"name": "mgfd", "feature": "tokens"}]),
    "grades.3.mask.rate": st.sampled_from([0.1, 0.4]),
    "init.source": st.just("teacher"),
}
differences = st.fixed_dictionaries({}, optional=CHANGES).filter(bool)


def means(draft: dict[str, Any], *more: dict[str, Any]) -> list[str]:
    return meaning(build_chain([{"layers": [6, 6, 4, 3]}, draft, *more, {"seed": 0}], source="test"))


@settings(max_examples=60)
@given(st.lists(differences, min_size=1, max_size=5))
def test_variants_are_refused_exactly_where_they_mean_the_same(
    tmp_path_factory: pytest.TempPathFactory, given_differences: list[dict[str, Any]]
) -> None:
    variants = {f"v{place}": difference for place, difference in enumerate(given_differences)}
    path = written(
        tmp_path_factory.mktemp("study"), {"baseline": {"layers": [6, 6, 4, 3]}, "variants": variants, "seeds": [0]}
    )
    expected = [means({}), *(means(difference) for difference in variants.values())]
    twice = sum(meant in expected[:place] for place, meant in enumerate(expected))
    if twice:
        with pytest.raises(SpecError, match="means the same as") as caught:
            load_study(path)
        assert len(caught.value.errors) == twice
    else:
        study = load_study(path)
        assert [meaning(chain) for chain in chains_of(study).values()] == expected
        assert StudyConfig.model_validate_json(study.model_dump_json()).meaning == study.meaning


@settings(max_examples=40)
@given(differences, differences)
def test_from_lays_one_difference_over_another(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, Any], second: dict[str, Any]
) -> None:
    expected = {BASELINE: means({}), "a": means(first), "b": means(first, second)}
    path = written(
        tmp_path_factory.mktemp("study"),
        {"baseline": {"layers": [6, 6, 4, 3]}, "variants": {"a": first, "b": {"from": "a", **second}}, "seeds": [0]},
    )
    if len({str(meant) for meant in expected.values()}) == 3:
        assert {name: meaning(chain) for name, chain in chains_of(load_study(path)).items()} == expected
    else:
        with pytest.raises(SpecError, match="means the same as"):
            load_study(path)


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from([1e-5, 2e-5, 1e-4]), min_size=2, max_size=3, unique=True),
    st.integers(2, 3),
    st.integers(2, 4),
)
def test_runs_are_variants_times_choices_times_seeds(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[int], lrs: list[float], rates: int, alphas: int
) -> None:
    factors = {
        "rate": {str(n): {"mask.rate": n / 10 + 0.05} for n in range(rates)},
        "alpha": {str(n): {"loss.alpha": n / 10 + 0.05} for n in range(alphas)},
    }
    content = {
        "baseline": {"layers": [2, 1, 1]},
        "factors": factors,
        "seeds": seeds,
        "roles": {"nuisance": {"optimiser.lr": lrs}},
    }
    study = load_study(written(tmp_path_factory.mktemp("study"), content))
    runs = list(study.runs())
    assert len(runs) == (1 + rates * alphas) * len(lrs) * len(seeds)
    assert len({(run.variant, run.arm, run.seed) for run in runs}) == len(runs)
    assert all(run.chain.seed == run.seed for run in runs)


def test_what_a_study_means(tmp_path: Path) -> None:
    """Neither words nor budget, but whatever is run and asked."""
    study = loaded(tmp_path)
    same = loaded(tmp_path, about="Why not?", budget={"hours": 4})
    assert same.meaning == study.meaning
    for changes in (
        {"seeds": [0, 2]},
        {"settings": {"loss.alpha": 0.2}},
        {"compare": {"metric": "hits@1"}},
        {"name": "other"},
    ):
        assert loaded(tmp_path, **changes).meaning != study.meaning
