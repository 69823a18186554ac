"""The shipped ablation files: commented, in the paper's setting, with the stages and shares that they promise."""

from __future__ import annotations

import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from reference import tiny
from reference.own_study import chains_of, shape
from reference.toy_studies import DEPTH, OWN, toy_overrides

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.chain_stages import Facts, meaning, stages_of_chain
from pmd_ray.spec.study import BASELINE, CompareConfig, StudyConfig
from pmd_ray.spec.study_file import SHIPPED, load_study, shipped_studies
from pmd_ray.spec.variants import touched
from pmd_ray.train.workshop import check_depths

pytestmark = pytest.mark.whole

NAMES = [
    "layer_schedules",
    "mask_schedules",
    "mgfd_factorial",
    "no_progressive",
    "paper_figure2",
    "paper_figure3",
    "paper_set",
    "paper_table3",
    "paper_table4",
    "quickstart",
    "student_init",
]
PAPERS = [name for name in NAMES if name != "quickstart"]
"""In the paper's own setting."""
FACTS = Facts(dataset="d", encoder="e", device="cpu")


def keys_of(study: StudyConfig) -> list[str]:
    """The key of every stage of every run, each chain for itself."""
    return [stage.key for run in study.runs() for stage in stages_of_chain(run.chain, FACTS)]


def test_what_is_shipped() -> None:
    assert shipped_studies() == NAMES
    assert set(OWN) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_study_loads_by_its_name_and_says_what_it_asks(name: str) -> None:
    study = load_study(name)
    assert study == load_study(f"ablations/{name}.yaml") == load_study(str(SHIPPED / f"{name}.yaml"))
    assert study.name == name and study.about.endswith("?")
    assert study.variants[0].name == BASELINE and len(study.variants) > 1
    asked = [question.question for question in study.compare]
    assert len(set(asked)) == len(asked) and CompareConfig().question not in asked
    assert all(text.endswith("?") for text in asked)
    assert StudyConfig.model_validate_json(study.model_dump_json()) == study


@pytest.mark.parametrize("name", NAMES)
def test_each_line_of_a_shipped_study_has_a_comment(name: str) -> None:
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    for above, line in pairwise(text.splitlines()):
        assert len(line) <= 120
        if line.strip() and not line.strip().startswith("#"):
            assert above.strip().startswith("#"), line


def commands(name: str) -> list[list[str]]:
    """The commands that a shipped file's comments show, as a shell reads them."""
    lines = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    told = "\n".join(line.removeprefix("#").strip() for line in lines if line.startswith("#   "))
    return [shlex.split(line) for line in told.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("name", [name for name in PAPERS if name != "paper_set"])
def test_the_commands_in_the_comments_do_what_they_say(name: str) -> None:
    """Each file shows how to take another graph and an encoder of six layers."""
    assert commands(name)
    for program, verb, study, *rest in commands(name):
        assert (program, verb, study, set(rest[::2])) == ("pmd", "ablate", name, {"--set"})
        for chain in chains_of(load_study(study, rest[1::2])).values():
            is_mini = chain.encoder.name == "minilm"
            assert chain.dataset.source == ("FOLDER" if is_mini else "WN18RR")
            check_depths(chain, 6 if is_mini else 12)
    assert any("encoder.name=minilm" in command for command in commands(name))


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_own_setting(name: str) -> None:
    study = load_study(name)
    assert study.seeds == (0, 1, 2)
    for chain in chains_of(study).values():
        assert (chain.dataset.source, chain.encoder.name) == ("WN18RR", "bert-base-uncased")
        assert {(grade.optimiser.epochs, grade.optimiser.batch, grade.optimiser.lr) for grade in chain.grades} == {
            (50, 512, 5e-5)
        }
        assert chain.grades[0].layers == 12 and not chain.controls
        check_depths(chain, 12)


@pytest.mark.parametrize("name", [name for name in PAPERS if name not in ("paper_figure3", "mgfd_factorial")])
def test_the_baseline_is_the_shipped_chain_of_the_paper(name: str) -> None:
    """Its stages are then shared with `pmd distill wn18rr`, and among all of these studies."""
    assert meaning(chains_of(load_study(name))[BASELINE]) == meaning(load_chain("wn18rr"))


def test_studies_share_stages_with_each_other() -> None:
    table4, figure2, figure3, whole = (
        set(keys_of(load_study(name))) for name in ("paper_table4", "paper_figure2", "paper_figure3", "paper_set")
    )
    assert figure2 <= whole
    assert len(table4 & whole) == 3 * (5 + 4)  # the baseline's chain, and no_mgfd's
    assert len(figure3 & whole) == 3 * (1 + 4)  # the teacher, and 12 layers at 5, 10, 20 and 30 %
    assert set(keys_of(load_study("no_progressive"))) <= whole


TWELVE = """\
baseline 12-9-6-3 20-10-5-0
no_mgfd 12-9-6-3 0-0-0-0
no_progressive_from_pre_distilled 12-9-6-3 20-10-5-0
no_progressive_from_baseline 9-6-3 10-5-0
fixed_5 12-9-6-3 5-5-5-5
fixed_10 12-9-6-3 10-10-10-10
fixed_20 12-9-6-3 20-20-20-20
masks_30_15_10_0 12-9-6-3 30-15-10-0
layers_12_10_8_6_4 12-10-8-6-4 20-15-10-5-0
layers_12_6_3 12-6-3 20-5-0
layers_12_8_4 12-8-4 20-10-0
layers_12_9_3 12-9-3 20-10-0
"""
"""The twelve chains of the research notes, section 4."""


def test_the_twelve_chains_share_60_of_171_stages() -> None:
    study = load_study("paper_set")
    assert "".join(f"{name} {shape(chain)}\n" for name, chain in chains_of(study).items()) == TWELVE
    keys = keys_of(study)
    assert (len(keys), len(set(keys))) == (171, 111) and study.budget.stages == 111
    one = keys_of(study.model_copy(update={"seeds": (0,)}))
    assert (len(one), len(set(one))) == (57, 37)


def test_quickstart_is_small_and_shares() -> None:
    study = load_study("quickstart")
    assert [variant.name for variant in study.variants] == [
        BASELINE,
        "no_mgfd",
        "mask_only",
        "no_progressive",
        "fixed_mask",
        "layers_6_3_2",
        "no_teacher",
    ]
    keys = keys_of(study)
    assert (len(keys), len(set(keys)), len(study.seeds)) == (42, 26, 2)
    for chain in chains_of(study).values():
        assert (chain.dataset.source, chain.encoder.name, chain.controls) == ("cldr", "minilm", False)
        teacher, *students = [grade.optimiser.steps_per_epoch or 0 for grade in chain.grades]
        assert 60 <= teacher <= 100 and set(students) == {20}, "students alike; the teacher longer"
        check_depths(chain, 6)
    alone = chains_of(study)["no_teacher"]
    control = load_chain(
        "demo", ["layers=[6, 4, 2]", f"optimiser.steps_per_epoch={alone.grades[1].optimiser.steps_per_epoch}"]
    )
    controls = [stage.key for stage in stages_of_chain(control, FACTS) if stage.control_of]
    assert [stage.key for stage in stages_of_chain(alone, FACTS)][1:] == controls


def test_mgfd_is_a_factorial_of_nine_cells() -> None:
    study = load_study("mgfd_factorial")
    cells = [variant for variant in study.variants if variant.factors]
    assert len(cells) == 12
    assert {cell.name: cell.alias_of for cell in cells if cell.alias_of} == {
        "mask=off,loss=zero,teacher=clean": "mask=off,loss=zero,teacher=same",
        "mask=off,loss=code,teacher=clean": "mask=off,loss=code,teacher=same",
        "mask=off,loss=scaled,teacher=clean": "mask=off,loss=scaled,teacher=same",
        "mask=on,loss=code,teacher=same": BASELINE,
    }
    runs = list(study.runs())
    assert len(runs) == 9 * 3
    stages = {stage.key: stage for run in runs for stage in stages_of_chain(run.chain, FACTS)}
    students = [stage for stage in stages.values() if stage.teacher]
    assert (len(stages), len(students)) == (57, 54) and study.budget.stages == 57
    assert {(stage.grade.name, stage.teacher) for stage in students} == {("12", "teacher"), ("9", "teacher")}
    for name, chain in chains_of(study).items():
        for grade in chain.grades[1:]:
            weights = grade.loss
            label = 1 - weights.alpha - weights.beta
            assert label / weights.alpha == pytest.approx(8, rel=1e-5), name
            looks = getattr(weights.feature, "when_unmasked", None)
            assert looks == ("random" if "mask=off" in name else "nowhere")


@pytest.mark.parametrize("name", ["paper_table4", "paper_set", "quickstart", "mask_schedules"])
def test_switching_the_feature_loss_off_leaves_the_other_weights_alike(name: str) -> None:
    chains = chains_of(load_study(name))

    def ratio(chain: ChainConfig) -> float:
        loss = chain.grades[-1].loss
        return (1 - loss.alpha - loss.beta) / loss.alpha

    switched = [chain for chain in chains.values() if chain.grades[-1].loss.beta == 0]
    assert switched and all(ratio(chain) == pytest.approx(ratio(chains[BASELINE]), rel=1e-5) for chain in switched)


def test_the_rivals_of_table_3() -> None:
    chains = chains_of(load_study("paper_table3"))
    assert list(chains) == [BASELINE, "truncated", "lkd", "pkd"]
    for name in ("lkd", "pkd"):
        assert [chains[name].teacher_of(place) for place in range(5)] == [None, 0, 0, 0, 0]
        assert {grade.mask.rate for grade in chains[name].grades} == {0.0}
        assert {grade.loss.score.name for grade in chains[name].grades} == {"lkd"}
    assert {grade.loss.beta for grade in chains["lkd"].grades} == {0.0}
    assert {grade.loss.feature.name for grade in chains["pkd"].grades} == {"pkd"}
    assert {grade.loss.combination for grade in chains["pkd"].grades} == {"additive"}
    truncated = chains["truncated"]
    assert [truncated.teacher_of(place) for place in range(5)] == [None] * 5
    assert {grade.mask.rate for grade in truncated.grades} == {0.0}
    stages = stages_of_chain(truncated, FACTS)
    assert stages[0].key == stages[1].key  # its 12 layers are the teacher


def test_the_mask_rates_of_figure_3() -> None:
    study = load_study("paper_figure3")
    rates = sorted(chain.grades[1].mask.rate for chain in chains_of(study).values())
    assert rates == [place / 20 for place in range(11)]
    assert all(touched(key) == "mask.rate" for variant in study.variants for key in variant.difference)


def test_layer_schedules_compare_equal_depths() -> None:
    study = load_study("layer_schedules")
    chains = chains_of(study)
    assert [shape(chain).split()[0] for chain in chains.values()] == [
        "12-9-6-3",
        "10-8-6-4",
        "12-10-8-6-4",
        "12-6-3",
        "12-8-4",
        "12-9-3",
        "3",
    ]
    for question in study.compare:
        assert all(
            int(question.grade) in [grade.layers for grade in chains[name].grades]
            for pair in question.pairs
            for name in pair
        )


def test_every_study_of_schedules_ends_in_other_students() -> None:
    for name in ("mask_schedules", "no_progressive", "student_init"):
        chains = chains_of(load_study(name)).values()
        assert len({stages_of_chain(chain, FACTS)[-1].key for chain in chains}) == len(chains)


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_study_has_a_toy_size(name: str, tmp_path: Path) -> None:
    toy, study = load_study(name, toy_overrides(name, tmp_path)), load_study(name)
    assert [variant.name for variant in toy.variants] == [variant.name for variant in study.variants]
    assert {v.name: v.alias_of for v in toy.variants} == {v.name: v.alias_of for v in study.variants}
    assert toy.seeds == (0,) and len(set(keys_of(toy))) <= 25
    for chain in chains_of(toy).values():
        assert (chain.dataset.source, chain.encoder.name) == (str(tmp_path), "scratch")
        assert chain.encoder.scratch.layers == DEPTH
        check_depths(chain, DEPTH)


def test_loading_them_all_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pmd_ray.spec.study_file import load_study, shipped_studies\n"
        "for name in shipped_studies(): list(load_study(name).runs())\n"
        "print(sorted({'torch', 'ray', 'transformers', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_toy_study_finds_its_graph(tmp_path: Path) -> None:
    """The path is written as YAML reads it back."""
    graph = tiny.write_graph(tmp_path / "a graph, with spaces")
    chain = chains_of(load_study("quickstart", toy_overrides("quickstart", graph)))[BASELINE]
    assert chain.dataset.source == str(graph)
