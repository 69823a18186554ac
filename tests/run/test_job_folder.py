"""What a job takes along is what its command reads there, and nothing else of this machine."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pmd_ray.run.job_folder import Packed, check_packed, entrypoint, job_id, pack
from pmd_ray.spec.errors import SpecError, UserError
from pmd_ray.spec.study_file import load_study

CHAIN = "layers: [4, 2]\ndataset: cldr\nencoder: {name: scratch}\n"
STUDY = "baseline: BASE\nvariants: {no_mgfd: {loss.beta: 0.0}}\nseeds: [0]\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with studies and chains in it and beside it, and much else."""
    folder = tmp_path / "mine"
    (folder / "chains").mkdir(parents=True)
    (folder / "secret.env").write_text("TOKEN=1", encoding="utf-8")
    for place in (folder / "chain.yaml", folder / "chains" / "deep.yaml", tmp_path / "above.yaml"):
        place.write_text(CHAIN, encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def packed(tmp_path: Path, base: str, *overrides: str) -> tuple[Packed, Path]:
    Path("study.yaml").write_text(STUDY.replace("BASE", base), encoding="utf-8")
    folder = tmp_path / "packed"
    folder.mkdir()
    return pack("ablate", "study.yaml", overrides, folder), folder


@pytest.mark.parametrize(
    ("base", "files"),
    [
        ("demo", {"study.yaml"}),
        ("pmd_code", {"study.yaml"}),
        ("{layers: [4, 2]}", {"study.yaml"}),
        ("chain.yaml", {"study.yaml", "chain.yaml"}),
        ("chains/deep.yaml", {"study.yaml", "deep.yaml"}),
        ("../above.yaml", {"study.yaml", "above.yaml"}),
    ],
)
def test_the_study_and_its_chain_come_along_and_mean_the_same(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, files: set[str]
) -> None:
    made, folder = packed(tmp_path, base)
    assert {path.name for path in folder.iterdir()} == files
    meant = load_study("study.yaml")
    assert check_packed(made, folder) == []
    monkeypatch.chdir(folder)
    assert load_study(made.file, made.overrides) == meant
    assert (made.name, made.source) == ("study", "cldr")


def test_a_chain_that_is_called_as_the_study_gets_another_name(here: Path, tmp_path: Path) -> None:
    (here / "chains" / "study.yaml").write_text(CHAIN, encoding="utf-8")
    made, folder = packed(tmp_path, "chains/study.yaml")
    assert {path.name for path in folder.iterdir()} == {"study.yaml", "baseline-study.yaml"}
    assert load_study(str(folder / "study.yaml"), made.overrides).variants


def test_a_baseline_of_the_command_line_counts(here: Path, tmp_path: Path) -> None:
    made, folder = packed(tmp_path, "demo", "baseline=chains/deep.yaml")
    assert {path.name for path in folder.iterdir()} == {"study.yaml", "deep.yaml"}
    assert made.overrides == ("baseline=chains/deep.yaml", "baseline=deep.yaml")


def test_shipped_ones_and_chains_and_searches_come_along(tmp_path: Path) -> None:
    verbs = (("ablate", "quickstart", "quickstart"), ("search", "quickstart", "search-quickstart"))
    for verb, name, run in (*verbs, ("distill", "demo", "demo")):
        folder = tmp_path / verb
        folder.mkdir()
        made = pack(verb, name, (), folder)  # type: ignore[arg-type]
        assert [path.name for path in folder.iterdir()] == [f"{name}.yaml"]
        assert (made.file, made.run, made.source) == (f"{name}.yaml", run, "cldr")
        assert check_packed(made, folder) == []


def test_a_preset_needs_no_file(tmp_path: Path) -> None:
    made = pack("distill", "pmd_code", ("dataset=cldr",), tmp_path)
    assert made.file == "pmd_code" and not list(tmp_path.iterdir())


def test_what_is_wrong_with_the_file_is_said_here(here: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="variants: missing"):
        packed(tmp_path, "demo", "variants=null")
    with pytest.raises(UserError, match="no ablation file 'quickstrat'"):
        pack("ablate", "quickstrat", (), tmp_path)


def test_a_graph_that_is_named_otherwise_goes_along(here: Path, tmp_path: Path) -> None:
    made, folder = packed(tmp_path, "chain.yaml")
    moved = made.reading("letters@" + "a" * 12)
    assert moved.overrides == ("dataset.source=letters@aaaaaaaaaaaa",)
    assert check_packed(moved, folder) == []


def test_a_variant_that_still_names_the_graph_as_this_machine_does_is_refused(here: Path, tmp_path: Path) -> None:
    made, folder = packed(tmp_path, "chain.yaml", "variants.no_mgfd={loss.beta: 0.0, dataset.source: cldr}")
    with pytest.raises(SpecError, match=r"variants.no_mgfd.dataset.source: all variants are compared on the same"):
        check_packed(made.reading("letters@" + "a" * 12), folder)


def test_an_encoder_that_is_a_folder_is_told(here: Path, tmp_path: Path) -> None:
    (here / "bert").mkdir()
    made, folder = packed(tmp_path, "chain.yaml", f"encoder.name={here / 'bert'}")
    assert check_packed(made, folder) == [str(here / "bert")]


def test_the_command_line(tmp_path: Path) -> None:
    made = pack("ablate", "quickstart", ("seeds=[0, 1]",), tmp_path)
    line = entrypoint(made, out=None, options=["--cpus", "2"], storage="s3://bucket/my runs")
    assert line == (
        "python -m pmd_ray ablate quickstart.yaml --set 'seeds=[0, 1]' --cpus 2 "
        "--out ~/pmd_ray/runs/quickstart --storage 's3://bucket/my runs'"
    )
    nasty = entrypoint(made, out="/a b;rm", options=[], storage="/x;$(rm)")
    assert shlex.split(nasty)[-4:] == ["--out", "/a b;rm", "--storage", "/x;$(rm)"]


def test_a_storage_that_nobody_names_is_the_clusters(tmp_path: Path) -> None:
    made = pack("ablate", "quickstart", (), tmp_path)
    assert '--storage "${PMD_STORAGE:?PMD_STORAGE is not set' in entrypoint(made, out=None, options=[], storage=None)
    chain = Packed(verb="distill", file="demo.yaml", name="demo", overrides=(), source="cldr")
    assert "--storage" not in entrypoint(chain, out=None, options=[], storage="s3://bucket/x")


def test_ids_are_new_each_time_and_fit_an_address() -> None:
    made = Packed(verb="ablate", file="x.yaml", name="a=b,c", overrides=(), source="cldr")
    one, other = job_id(made), job_id(made)
    assert one != other and one.startswith("pmd-a-b-c-") and len(one) == len("pmd-a-b-c-") + 8
