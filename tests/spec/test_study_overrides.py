"""`--set` over an ablation file: settings, parts of the file, variants, levels."""

from __future__ import annotations

from pathlib import Path

import pytest
from reference.own_study import PLAIN, chains_of, complaints, loaded, shape, written

from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.study import BASELINE
from pmd_ray.spec.study_file import load_study


def test_set_of_settings_reaches_every_variant_but_what_it_says_itself(tmp_path: Path) -> None:
    study = loaded(tmp_path, "loss.alpha=0.3", "layers=[3, 3, 1]", settings={"loss": {"alpha": 0.4}})
    found = {name: chain.grades[-1].loss.alpha for name, chain in chains_of(study).items()}
    assert found == {BASELINE: 0.3, "no_mgfd": 0.3, "no_score": 0.0}
    assert {shape(chain).split()[0] for chain in chains_of(study).values()} == {"3-1"}


@pytest.mark.parametrize("prefix", ["", "settings.", "baseline."])
def test_a_setting_may_be_addressed_by_where_it_stands(tmp_path: Path, prefix: str) -> None:
    """Though it is written nested there, and dotted here."""
    study = loaded(tmp_path, f"{prefix}optimiser.lr=0.001", settings={"optimiser": {"lr": 0.01}})
    assert chains_of(study)[BASELINE].grades[0].optimiser.lr == 0.001


def test_set_of_parts_of_the_file(tmp_path: Path) -> None:
    study = loaded(
        tmp_path,
        "seeds=[5, 6, 7]",
        "name=other",
        "about=Is it so?",
        "budget.hours=3",
        "roles.fixed=[optimiser.lr]",
        "roles.nuisance.optimiser.warmup_steps=[5, 10]",
        "compare={metric: hits@1, grade: 2}",
        budget={"stages": 9},
    )
    assert (study.seeds, study.name, study.about) == ((5, 6, 7), "other", "Is it so?")
    assert (study.budget.hours, study.budget.stages) == (3.0, 9)
    assert study.roles.fixed == ("optimiser.lr",) and list(study.roles.nuisance) == ["optimiser.warmup_steps"]
    assert [(q.metric, q.grade) for q in study.compare] == [("hits@1", "2")]
    assert chains_of(loaded(tmp_path, "baseline=pmd_code"))[BASELINE].grades[0].layers == 12


def test_set_of_a_variant(tmp_path: Path) -> None:
    nested = {
        "a": {"loss": {"score": {"name": "scores", "space": "cosine"}}, "mask_rates": [0.3, 0.2]},
        "b": {"mask.rate": 0.4},
    }
    study = loaded(
        tmp_path,
        "variants.a.loss.score.space=softmax_kl",
        "variants.a.layers=[4, 2]",
        "variants.a.mask_rates=[0.25]",
        "variants.b={mask.rate: 0.45}",
        "variants.c={from: a, loss.alpha: 0.3}",
        "variants.b.from=c",
        variants=nested,
    )
    a, b, c = (chains_of(study)[name] for name in "abc")
    assert [(g.layers, g.mask.rate) for g in a.grades] == [(4, 0.0), (2, 0.25)]
    assert a.grades[1].loss.score.space == c.grades[1].loss.score.space == "softmax_kl"  # type: ignore[attr-defined]
    assert (b.grades[1].mask.rate, b.grades[1].loss.alpha, len(b.grades)) == (0.45, 0.3, 2)
    assert study.variant("b").parent == "c"


def test_set_of_layers_drops_the_rates_of_the_files_own(tmp_path: Path) -> None:
    variants = {"a": {"layers": [4, 4, 3, 2], "mask_rates": [0.3, 0.2, 0.1]}}
    chain = chains_of(loaded(tmp_path, "variants.a.layers=[4, 3]", variants=variants))["a"]
    assert [(grade.layers, grade.mask.rate) for grade in chain.grades] == [(4, 0.0), (3, 0.0)]


def test_null_leaves_a_variant_out_with_its_pairs(tmp_path: Path) -> None:
    compare = [{"pairs": [["no_mgfd", "baseline"], ["no_score", "baseline"]]}, {"pairs": [["no_score", "no_mgfd"]]}]
    study = loaded(tmp_path, "variants.no_score=null", compare=compare)
    assert [v.name for v in study.variants] == [BASELINE, "no_mgfd"]
    assert [question.pairs for question in study.compare] == [(("no_mgfd", BASELINE),)]
    alone = loaded(tmp_path, "variants.no_score=null", compare=compare[1:])
    assert alone.pairs(alone.compare[0]) == [("no_mgfd", BASELINE)]
    back = loaded(tmp_path, "variants.no_score=null", "variants.no_score={loss.alpha: 0.05}", compare=compare)
    assert len(back.compare) == 2 and chains_of(back)["no_score"].grades[1].loss.alpha == 0.05


def test_set_of_a_level(tmp_path: Path) -> None:
    factors = {"mask": {False: {"mask.rate": 0.0}, "high": {"mask.rate": 0.5}, "own": None}}
    study = loaded(tmp_path, "factors.mask.high.mask.rate=0.6", "factors.mask.own.mask.per=occurrence", factors=factors)
    assert [chains_of(study)[f"mask={level}"].grades[1].mask.rate for level in ("off", "high", "own")] == [
        0.0,
        0.6,
        0.2,
    ]
    assert chains_of(study)["mask=own"].grades[1].mask.per == "occurrence"
    off = loaded(tmp_path, "factors.mask.off.loss.alpha=0.05", factors=factors)
    assert chains_of(off)["mask=off"].grades[1].loss.alpha == 0.05


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "variants.no_mgdf.loss.alpha=0.1",
            "--set variants.no_mgdf.loss.alpha: no variant 'no_mgdf'; did you mean 'no_mgfd'?",
        ),
        ("variants.no_mgdf=null", "--set variants.no_mgdf: no variant 'no_mgdf'; did you mean 'no_mgfd'?"),
        ("variants.no_mgfd.mask.rte=1", "variants.no_mgfd: mask.rte: unknown key; did you mean 'rate'?"),
        ("factors.mask.off.mask.rate=0", "--set factors.mask.off.mask.rate: no level 'off' of a factor 'mask'"),
        ("seeds.0=1", "--set seeds.0: 'seeds' holds no settings; give it whole, as in --set seeds=..."),
        ("name.x=1", "name: must be letters"),
        ("compare.metric=mrr", "--set compare.metric: 'compare' holds no settings; give it whole"),
        ("seed=3", "seed: a study has seeds; give them there"),
        ("mask.rte=0.1", "mask.rte: unknown key; did you mean 'rate'?"),
        ("loss.alpha", "'loss.alpha': write KEY=VALUE"),
        ("seeds=[", "'seeds=[': the value is no YAML"),
        ("variants=3", "variants: must map names to differences"),
        ("variants=null", "variants: missing; name at least one"),
        ("loss.alpha=0", "variants.no_score: means the same as the baseline"),
    ],
)
def test_a_bad_set(tmp_path: Path, override: str, said: str) -> None:
    found = complaints(tmp_path, override, compare=[{"metric": "mrr"}])
    assert any(error.startswith(said) for error in found), found


def test_the_report_names_what_set_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"mine\.yaml --set seeds=\[\] --set mask\.rte=1: 2 errors"):
        load_study(written(tmp_path, PLAIN), ["seeds=[]", "mask.rte=1"])
