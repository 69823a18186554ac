"""`pmd distill`: the whole command, its second call, its interruption, a full disk, two runs in one folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reference.full_disk import files_up_to
from reference.once import once
from reference.tiny import write_chain

from pmd_ray.run.distil import locked
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.train.chain_stages import stages_of
from pmd_ray.train.use import load_model
from pmd_ray.train.workshop import Places, device_of, open_workshop

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]
PMD = [sys.executable, "-m", "pmd_ray"]
SHORT = ("--set", "layers=[1]", "--set", "mask_rates=[]", "--set", "optimiser.epochs=1")
CHATTER = ("INFO", "WARNING", "Warning", "Loading weights", "MISSING", "Reported metrics", "local mode", "Traceback")


def test_a_chain_from_end_to_end_prints_one_object(pmd: Pmd, tiny_run: Any) -> None:
    done = pmd("distill", tiny_run.chain, "--out", tiny_run.out, "--json")
    assert done.code == 0
    grades = done.json["grades"]
    assert [(g["name"], g["layers"], g["mask_rate"], g["control_of"]) for g in grades] == [
        ("teacher", 2, 0.0, None),
        ("2", 2, 0.2, None),
        ("1", 1, 0.0, None),
        ("1-alone", 1, 0.0, "1"),
    ]
    for grade in grades:
        assert 0 < grade["mrr"] <= 1
        assert 0 <= grade["hits@1"] <= grade["hits@3"] <= grade["hits@10"] <= 1
        assert grade["seconds"] > 0
        assert grade["cpu_seconds"] > 0
        assert grade["steps"] == 14
    assert grades[0]["parameters"] > grades[2]["parameters"] == grades[3]["parameters"]
    assert json.loads((tiny_run.out / "results.json").read_text())["dataset"] == "graph"


def test_a_second_call_trains_nothing_and_says_the_same(pmd: Pmd, tiny_run: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.out.rglob("model.safetensors")}
    first = pmd("distill", tiny_run.chain, "--out", tiny_run.out, "--json")
    second = pmd("distill", tiny_run.chain, "--out", tiny_run.out, "--json")
    assert first.json == second.json
    assert second.err.count("stored already") == 5  # the plan, and each grade
    assert {path: path.stat().st_mtime_ns for path in tiny_run.out.rglob("model.safetensors")} == before
    assert "1 without teacher" in second.err


def test_without_json_the_table_is_the_output(pmd: Pmd, tiny_run: Any) -> None:
    done = pmd("distill", tiny_run.chain, "--out", tiny_run.out)
    assert done.code == 0
    title, head, *rows = done.out.splitlines()
    assert title == "graph, test split, filtered, both directions, seed 0"
    assert head.split()[:4] == ["grade", "layers", "parameters", "mask"]
    assert [row.split("  ")[0] for row in rows[:4]] == ["teacher", "2", "1", "1 without teacher"]
    assert f"models and ranks: {tiny_run.out}" in done.out


def test_a_dry_run_writes_nothing(pmd: Pmd, tiny_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = pmd("distill", tiny_run.chain, "--dry-run", "--set", "grades.1.mask.rate=0.05")
    assert done.code == 0
    (tmp_path / "again.yaml").write_text(done.out)
    told = pmd("distill", tmp_path / "again.yaml", "--dry-run", "--json").json
    assert [grade["mask"]["rate"] for grade in told["grades"]] == [0.0, 0.2, 0.05]
    assert [path.name for path in tmp_path.iterdir()] == ["again.yaml"]


def test_a_folder_of_another_configuration_is_refused(pmd: Pmd, tiny_run: Any) -> None:
    before = (tiny_run.out / "chain.yaml").read_text()
    done = pmd("distill", tiny_run.chain, "--out", tiny_run.out, "--set", "optimiser.lr=1e-4")
    assert (done.code, done.out) == (2, "")
    assert "holds grades of another configuration (teacher, 2, 1, 1-alone); choose another folder" in done.err
    assert (tiny_run.out / "chain.yaml").read_text() == before


def test_a_second_run_in_the_same_folder_is_refused(pmd: Pmd, tiny_run: Any) -> None:
    with locked(tiny_run.out):
        done = pmd("distill", tiny_run.chain, "--out", tiny_run.out)
    assert (done.code, done.out) == (2, "")
    assert f"another run is at work in {tiny_run.out}; wait for it" in done.err


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a process of its own, which had loaded nothing, has trained a chain; `out` and `err` it said."""

    def make(folder: Path) -> None:
        write_chain(folder)
        done = subprocess.run(
            [*PMD, "distill", "chain.yaml", *SHORT],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        (folder / "out").write_text(done.stdout)
        (folder / "err").write_text(done.stderr)

    return once(tmp_path_factory, "fresh", make)


def test_the_default_folder_is_named_after_the_chain(fresh: Path) -> None:
    """What libraries print when they are first loaded must not be seen either."""
    assert (fresh / "runs" / "chain" / "teacher" / "model" / "pmd.json").is_file()
    said = (fresh / "err").read_text()
    assert not [word for word in CHATTER if word in (fresh / "out").read_text() + said]
    lines = said.splitlines()
    assert re.fullmatch(r"1 trainings?, about .* on this machine: teacher", lines[0])
    assert lines[1] == "teacher: 1 layers, 0.1M parameters, 7 steps"
    assert re.fullmatch(r"teacher: epoch 1/1, validation MRR 0\.\d{3} \(best\)", lines[2])
    assert re.fullmatch(r"teacher: test MRR 0\.\d{3}, \d+ s", lines[3])
    assert len(lines) == 4


def test_a_scratch_encoder_is_the_same_in_every_process(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vocabulary and weights (C21: seeded everywhere). The trainer of `tokenizers` alone numbers letters by chance."""
    monkeypatch.chdir(fresh)
    chain = load_chain("chain.yaml", [setting for setting in SHORT if setting != "--set"])
    shop = open_workshop(chain, Places())
    card = json.loads((fresh / "runs" / "chain" / "teacher" / "model" / "pmd.json").read_text())
    (stage,) = stages_of(chain, shop, fresh / "nowhere", device_of("cpu"))
    assert card["stage_key"] == stage.key  # the hash of, among others, all weights that training starts from
    theirs = load_model(fresh / "runs" / "chain" / "teacher", device="cpu").wordpieces
    assert theirs.fingerprint == shop.source.wordpieces.fingerprint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on(pmd: Pmd, tmp_path: Path, number: int) -> None:
    """Stopped in the second grade, after its first epoch; the same command then does what is left."""
    chain, out = write_chain(tmp_path), tmp_path / "run"
    settings = [f"--set={one}" for one in ("layers=[1,1]", "mask_rates=[0.2]", "controls=false", "optimiser.batch=60")]
    command = ("distill", chain, *settings, "--set=grades.1.optimiser.epochs=5", "--out", out)
    with signalled(number, lambda: list((out / ".1.training").glob("epoch-*/progress.json"))):
        stopped = pmd(*command)
    assert (stopped.code, stopped.out) == (130, "")
    last = f"stopped: interrupted; what is finished is kept in {out}, the same command goes on"
    assert stopped.err.splitlines()[-1] == last
    assert not (out / "1").exists()
    assert not (out / "results.json").exists()
    assert not [path for path in out.rglob("*") if "aside" in path.name]
    finished = pmd(*command)
    assert finished.code == 0
    assert re.search(r"^teacher: test MRR .*, stored already$", finished.err, re.MULTILINE)
    assert re.search(r"^1: 1 layers, .* steps, going on after step [1-9]\d*$", finished.err, re.MULTILINE)


@pytest.mark.parametrize("limit", [4_000, 40_000, 300_000])
def test_a_full_disk_stops_cleanly(pmd: Pmd, tmp_path: Path, limit: int) -> None:
    """Files may not grow past the limit: the token table, a model's weights, an optimiser's state fail."""
    chain, out = write_chain(tmp_path), tmp_path / "run"
    command = ("distill", chain, *SHORT, "--set", "optimiser.epochs=2", "--set", "optimiser.batch=60", "--out", out)
    with files_up_to(limit):
        done = pmd(*command)
    assert (done.code, done.out) == (2, "")
    last = done.err.splitlines()[-1]
    assert last.startswith(f"error: {out}")
    assert "what was finished before is whole" in last
    assert not [path for path in out.rglob("*") if "aside" in path.name or path.name in ("results.json", "pmd.json")]
    assert (out / "cache").exists() == (limit > 4_000)  # no folder stays for a table that never was
    assert pmd(*command).code == 0
    assert (out / "teacher" / "model" / "pmd.json").is_file()


@pytest.mark.slow
def test_torchrun_trains_with_two_processes(tmp_path: Path) -> None:
    write_chain(tmp_path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    settings = ("--set", "layers=[2,1]", "--set", "mask_rates=[0.2]", "--set", "controls=false")
    done = subprocess.run(
        [*launcher, "-m", "pmd_ray", "distill", "chain.yaml", *settings, "--out", "run", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [grade["name"] for grade in json.loads(done.stdout)["grades"]] == ["teacher", "1"]
    assert done.stderr.count("teacher: test MRR") == 1


@contextlib.contextmanager
def signalled(number: int, ready: Callable[[], Any]) -> Iterator[None]:
    """Send this process a signal as soon as `ready` says so."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.005):
            if ready():
                os.kill(os.getpid(), number)
                return

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
