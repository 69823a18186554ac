"""Bad input of the training verbs: exit code 2, one clear message, nothing written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.tiny import write_chain

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound chain in the working folder."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    return write_chain(tmp_path)


def refused(pmd: Pmd, *arguments: object) -> str:
    """What was said; the run's folder must not be there."""
    before = sorted(Path().rglob("*"))
    done = pmd(*arguments)
    assert (done.code, done.out) == (2, ""), done.err
    assert sorted(Path().rglob("*")) == before
    assert "bug of pmd_ray" not in done.err
    errors: str = done.err
    assert any(line.startswith(("error: ", "Error: ")) for line in errors.splitlines()), errors
    return errors


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.alpha=0.6 loss.beta=0.6", "alpha"),
        ("layers=[1,2]", "a student must not be deeper than its teacher, got 2 over 1"),
        ("layers=[5]", "the encoder 'scratch' has 2 layers, got 5; lower it"),
        ("mask_rates=[1.0,0.0]", "1"),
        ("mask.rate=1", "1"),
        ("mask.rte=0.1", "did you mean 'rate'?"),
        ("optimizer.lr=0.1", "did you mean 'optimiser'?"),
        ("grades.7.mask.rate=0.1", "7"),
        ("mask.rate", "write KEY=VALUE, as in mask.rate=0.1"),
        ("mask.rate=[", "the value is no YAML"),
        ("dataset.source=clrd", "did you mean 'cldr'?"),
        ("dataset.source=no/such/folder", "there is no folder no/such/folder"),
        ("dataset.source=WN18RR", "pmd data fetch WN18RR"),
        ("encoder.name=no/such-model", "encoder 'no/such-model' cannot be loaded (HF_HUB_OFFLINE is set)"),
        ("encoder.name=graph", "encoder 'graph' cannot be loaded"),
        ("encoder.scratch.heads=5", "heads must divide width"),
    ],
)
def test_wrong_settings(pmd: Pmd, chain: Path, monkeypatch: pytest.MonkeyPatch, override: str, message: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PMD_DATA_HOME", str(chain.parent / "home"))
    plain = ["controls=false"] if override.startswith("layers") else []
    rates = {"layers=[1,2]": ["mask_rates=[0.0]"], "layers=[5]": ["mask_rates=[]"]}.get(override, [])
    settings = [part for one in (*override.split(" "), *plain, *rates) for part in ("--set", one)]
    assert message in refused(pmd, "distill", chain, *settings, "--out", "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: [2, 1\n", "line 2"),
        ("layers: [2]\nlayers: [1]\n", "given twice"),
        ("", "is empty"),
        ("- 6\n", "must be a mapping"),
        ("layers: [2]\nmaks: {rate: 0.1}\n", "did you mean 'mask'?"),
        ("layers: [\xff]\n", "is not UTF-8"),
    ],
)
def test_broken_chain_files(pmd: Pmd, chain: Path, text: str, message: str) -> None:
    chain.write_bytes(text.encode("latin-1"))
    assert message in refused(pmd, "distill", chain, "--out", "run")


def test_unknown_chains_name_the_nearest(pmd: Pmd, chain: Path) -> None:
    assert "did you mean 'demo'?" in refused(pmd, "distill", "dmeo")
    assert "did you mean 'pmd_code'?" in refused(pmd, "distill", "pmd_cod")
    assert "is a folder; give the chain file in it" in refused(pmd, "distill", "graph")


@pytest.mark.parametrize("workers", ["0", "abc", "4:2", "-1", "2:", ""])
def test_wrong_numbers_of_workers(pmd: Pmd, chain: Path, workers: str) -> None:
    message = refused(pmd, "distill", chain, "--out", "run", f"--workers={workers}")
    rule = "--workers must be a number from 1, or LEAST:MOST as in 2:8, either with ,spread and ,LABEL=VALUE behind it"
    assert f"{rule} or not, got '{workers}'" in message


def test_more_workers_than_cores(pmd: Pmd, chain: Path) -> None:
    cores = os.cpu_count() or 1
    message = refused(pmd, "distill", chain, "--out", "run", "--workers", 64 * cores)
    assert f"need {64 * cores} CPU, this machine has {cores}; ask for at most {cores}, or set RAY_ADDRESS" in message


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("test.tsv", "", "test.tsv"),
        ("relations.tsv", "next\tcomes before\ndouble\t\n", "relations.tsv:2"),
        ("train.tsv", "e00\tnext\n", "train.tsv:1: 2 columns instead of 3"),
        ("train.tsv", "e00\tnext\tnobody\n", "unknown entity 'nobody'"),
        ("valid.tsv", "e00\tnxt\te01\n", "nxt"),
        ("entities.tsv", "e00\tA\t\ne00\tB\t\n", "duplicate entity id 'e00'"),
        ("entities.tsv", "e00\t\tno name\n", "entities.tsv:1"),
        ("train.tsv", "e00\tnext\te01\ne00\tnext\te01\n", "train.tsv:2"),
        ("entities.tsv", "e00\tA\x07\t\n", "entities.tsv:1"),
        ("entities.tsv", "e00\t\xff\t\n", "entities.tsv:1"),
    ],
)
def test_broken_graphs(pmd: Pmd, chain: Path, file: str, text: str, message: str) -> None:
    (chain.parent / "graph" / file).write_bytes(text.encode("latin-1"))
    assert message in refused(pmd, "distill", chain, "--out", "run")


def test_a_leak_between_splits(pmd: Pmd, chain: Path) -> None:
    train, test = chain.parent / "graph" / "train.tsv", chain.parent / "graph" / "test.tsv"
    test.write_text(test.read_text() + train.read_text().splitlines(keepends=True)[0])
    assert "test.tsv:12" in refused(pmd, "distill", chain, "--out", "run")


def test_an_output_that_cannot_be_written(pmd: Pmd, chain: Path) -> None:
    Path("file").write_text("")
    assert "a file stands where a folder should" in refused(pmd, "distill", chain, "--out", "file/run")
    assert "a file stands where a folder should" in refused(pmd, "distill", chain, "--out", "file")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /sys and /proc, where nobody can make a folder")
@pytest.mark.parametrize("out", ["/sys/pmd", "/proc/pmd"])
def test_an_output_where_nobody_can_make_a_folder(pmd: Pmd, chain: Path, out: str) -> None:
    """The one says `Operation not permitted`, the other `No such file or directory`."""
    message = refused(pmd, "distill", chain, "--out", out)
    assert message.startswith(f"error: {out}") and message.count("\n") == 1
    assert " could not be written: " in message and "; choose a place " in message


@pytest.mark.parametrize("verb", [("evaluate",), ("predict", "e00", "next"), ("export", "out")])
def test_a_model_folder_that_is_none(pmd: Pmd, chain: Path, verb: tuple[str, ...]) -> None:
    name, *rest = verb
    assert "holds no model; give a grade's folder of a run" in refused(pmd, name, "graph", *rest)
    assert "holds no model" in refused(pmd, name, "nowhere", *rest)


def test_a_model_folder_with_a_broken_file(pmd: Pmd, chain: Path, tiny_run: Any) -> None:
    import shutil

    shutil.copytree(tiny_run.out / "1" / "model", "broken")
    Path("broken/hr/model.safetensors").write_bytes(b"nothing")
    assert "'broken' cannot be loaded" in refused(pmd, "evaluate", "broken")
    Path("broken/pmd.json").write_text("{")
    assert "'broken' cannot be loaded: pmd.json" in refused(pmd, "evaluate", "broken")


def test_a_run_with_several_models_asks_which(pmd: Pmd, chain: Path, tiny_run: Any) -> None:
    message = refused(pmd, "evaluate", tiny_run.out)
    assert "holds several models; name one: " in message
    assert str(tiny_run.out / "1-alone") in message


def test_a_split_that_is_none(pmd: Pmd, chain: Path, tiny_run: Any) -> None:
    message = refused(pmd, "evaluate", tiny_run.out / "1", "--split", "foo")
    assert "--split must be train, valid or test, got 'foo'" in message


def test_wrong_evaluation_options(pmd: Pmd, chain: Path, tiny_run: Any) -> None:
    model = tiny_run.out / "1"
    assert "--rerank-hops" in refused(pmd, "evaluate", model, "--rerank-hops", "0")
    assert "--rerank-weight must be above 0" in refused(
        pmd, "evaluate", model, "--rerank-hops", "2", "--rerank-weight", "0"
    )
    assert "no graph 'clrd'" in refused(pmd, "evaluate", model, "--data", "clrd")
    Path("file").write_text("")
    assert "file/ranks.parquet" in refused(pmd, "evaluate", model, "--ranks", "file/ranks.parquet")


@pytest.mark.parametrize(
    ("head", "relation", "message"),
    [
        ("stone 12x", "next", "no entity 'stone 12x' in graph; did you mean 'stone 12'"),
        ("TWIN", "next", "2 entities are called 'TWIN'; give an id: e00 (a river by the river), e11 ("),
        ("e00", "nxt", "no relation 'nxt' in graph; did you mean 'next'"),
        ("e00", "inverse nxt", "no relation 'inverse nxt'"),
    ],
)
def test_wrong_queries(pmd: Pmd, chain: Path, tiny_run: Any, head: str, relation: str, message: str) -> None:
    assert message in refused(pmd, "predict", tiny_run.out / "1", head, relation)


def test_export_into_a_folder_with_something_in_it(pmd: Pmd, chain: Path, tiny_run: Any) -> None:
    message = refused(pmd, "export", tiny_run.out / "1", "graph")
    assert "graph exists and is not empty; choose another folder" in message
    assert "exists and is not empty" in refused(pmd, "export", tiny_run.out / "1", chain)
