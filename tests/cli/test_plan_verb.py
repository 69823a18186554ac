"""`pmd plan`: the whole command, what it loads, what it finds in a store, its errors."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_study import DISTINCT, NAIVE, load_tiny, write_study

from pmd_ray.cli.plan import plan_of, say_plan
from pmd_ray.plan.identities import identify
from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.spec.attempt import AttemptState, Provenance
from pmd_ray.store.store import Store

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]
HEAVY = ("torch", "ray", "transformers", "pandas", "scipy")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_study(tmp_path)


def tree_of(folder: Path) -> StageTree:
    study = load_tiny(folder)
    return build_tree(study.runs(), identify(study, device="cpu").facts_of)


def publish(store: Store, key: str, *, cpu_seconds: float = 12.0) -> None:
    """An artifact as a finished stage leaves it, as far as a plan looks."""
    work = store.work(key) / "done"
    work.mkdir(parents=True)
    (work / "result.json").write_text("{}", encoding="utf-8")
    store.publish(key, work, provenance=Provenance(package="0", threads=1), seconds=15.0, cpu_seconds=cpu_seconds)


def plan(pmd: Pmd, file: Path, *more: object) -> Any:
    done = pmd("plan", file, "--device", "cpu", "--json", *more)
    assert done.code == 0, done.err
    return done.json


def test_json_is_one_object_with_what_the_study_needs(pmd: Pmd, file: Path, tmp_path: Path) -> None:
    told = plan(pmd, file, "--storage", tmp_path / "store")
    assert told["stages"] == {"naive": NAIVE, "distinct": DISTINCT, "stored": 0, "left": DISTINCT}
    assert {"variants", "cost", "power", "memory", "warnings"} <= told.keys()
    assert [variant["name"] for variant in told["variants"]] == [
        "baseline",
        "no_mgfd",
        "fixed",
        "direct",
        "no_teacher",
    ]
    assert "two-sided sign-flip test over 2 seeds cannot go below p = 0.5" in "".join(told["warnings"])
    assert not (tmp_path / "store").exists()


def test_the_terminal_shows_variants_tree_cost_and_power(pmd: Pmd, file: Path, tmp_path: Path) -> None:
    done = pmd("plan", file, "--device", "cpu", "--storage", tmp_path / "store", "--slots", 2)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "tiny: Whether anything can be learnt from forty entities."
    assert f"5 variants x 2 seeds: {NAIVE} stages, {DISTINCT} distinct, nothing stored in" in lines[2]
    assert "each line x 2 seeds" in done.out
    assert "├─ 2:0.2" in done.out
    assert "with 2 stages at once" in done.out
    assert "power: 2 seeds, " in done.out
    assert done.err.startswith("warning: a two-sided sign-flip test over 2 seeds")


def test_what_the_store_has_is_marked_and_its_costs_are_believed(pmd: Pmd, file: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    tree = tree_of(tmp_path)
    first = tree.roots()[0]
    publish(store, first.key)
    told = plan(pmd, file, "--storage", tmp_path / "store")
    assert told["stages"]["stored"] == 1
    by_key = {stage["key"]: stage for stage in told["cost"]["by_stage"]}
    assert by_key[first.key]["stored"]
    assert (by_key[first.key]["seconds"], by_key[first.key]["wall_seconds"]) == (12.0, 15.0)
    assert by_key[first.key]["source"] == "measured here"
    other = next(stage for stage in tree.roots() if stage.seed != first.seed and stage.grade.name == first.grade.name)
    assert by_key[other.key]["seconds"] == pytest.approx(12.0)
    assert by_key[other.key]["source"] == "measured: like teacher on 1 stage"
    assert "1 of 2 stored" in pmd("plan", file, "--device", "cpu", "--storage", tmp_path / "store").out


def test_an_attempt_outlives_its_artifact(pmd: Pmd, file: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    key = tree_of(tmp_path).roots()[0].key
    with store.lease(key):
        attempt = store.begin(key, study="tiny")
        attempt.end(AttemptState.DONE, seconds=20.0, cpu_seconds=18.0, peak_memory_bytes=3 * 10**12)
    told = plan(pmd, file, "--storage", tmp_path / "store")
    stage = next(stage for stage in told["cost"]["by_stage"] if stage["key"] == key)
    assert (stage["stored"], stage["source"], stage["memory_bytes"]) == (False, "measured here", 3 * 10**12)


def test_another_study_of_the_same_graph_tells_costs(pmd: Pmd, file: Path, tmp_path: Path) -> None:
    from pmd_ray.spec.study_record import StudyRecord

    store = Store.open(tmp_path / "store")
    study = load_tiny(tmp_path)
    identities = identify(study, device="cpu")
    tree = build_tree(study.runs(), identities.facts_of)
    assert identities.dataset is not None
    record = StudyRecord(
        study=study,
        file=str(file),
        storage=store.location,
        device="cpu",
        dataset=identities.dataset,
        encoders=identities.encoders,
        created="2026-01-01T00:00:00+00:00",
        command="pmd ablate tiny.yaml",
        runs=tree.runs,
        keys=tuple(tree.stages),
    )
    store.register("tiny", record.model_dump_json())
    publish(store, tree.roots()[0].key)
    told = plan(pmd, file, "--storage", tmp_path / "store", "--set", "seeds=[5, 6]")
    teachers = [stage for stage in told["cost"]["by_stage"] if stage["grade"] == "teacher"]
    assert {stage["source"] for stage in teachers} == {"measured: like a stage of another study on 1 stage"}
    assert {round(stage["seconds"], 6) for stage in teachers} == {12.0}


def test_dot_is_graphviz_text_alone(pmd: Pmd, file: Path, tmp_path: Path) -> None:
    done = pmd("plan", file, "--device", "cpu", "--storage", tmp_path / "store", "--dot")
    assert done.code == 0
    assert done.out.startswith('digraph "tiny" {\n')
    assert done.out.endswith("}\n")
    assert done.out.count(" [label=") == DISTINCT // 2


def test_overrides_reach_the_plan(pmd: Pmd, file: Path) -> None:
    told = plan(pmd, file, "--set", "seeds=[0, 1, 2, 3, 4]", "--set", "optimiser.epochs=1")
    assert told["seeds"] == [0, 1, 2, 3, 4]
    assert "over 5 seeds cannot go below p = 0.0625" in "".join(told["warnings"])


def test_a_dataset_that_is_not_here_is_planned_all_the_same(pmd: Pmd, tmp_path: Path) -> None:
    done = pmd("plan", "paper_set", "--device", "cuda", "--home", tmp_path, "--storage", tmp_path / "store", "--json")
    assert done.code == 0
    assert done.json["stages"]["naive"] == 171
    assert done.json["stages"]["distinct"] == 111
    assert done.json["known"] is False
    assert "pmd data fetch WN18RR" in done.json["missing"][0]
    assert done.json["cost"]["gpu_hours"] > 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "variants.no_mgfd.mask.rat=0.1"], "did you mean 'rate'"),
        (["--set", "seeds=[]"], "seeds: missing"),
        (["--device", "gpu"], "--device must be cpu, cuda or auto, got 'gpu'"),
        (["--dot", "--json"], "--dot and --json: one output at a time"),
        (["--set", "dataset.source=nowhere"], "no graph 'nowhere'"),
        (["--set", "layers=[3, 2, 1]"], "has 2 layers, got 3"),
        (["--slots", "0"], "--slots"),
    ],
)
def test_wrong_input_is_one_error_and_exit_2(pmd: Pmd, file: Path, more: list[str], said: str) -> None:
    done = pmd("plan", file, *more)
    assert done.code == 2
    assert done.out == ""
    assert said in done.err


def test_a_storage_that_is_something_else_is_refused(pmd: Pmd, file: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("", encoding="utf-8")
    done = pmd("plan", file, "--storage", tmp_path / "photos")
    assert done.code == 2
    assert "holds something else (cat.png)" in done.err
    (tmp_path / "empty").mkdir()
    assert plan(pmd, file, "--storage", tmp_path / "empty")["stages"]["stored"] == 0


def test_nothing_heavy_is_loaded(file: Path, tmp_path: Path) -> None:
    Store.open(tmp_path / "store")
    code = (
        "import sys\n"
        "from pmd_ray.cli.main import main\n"
        f"code = main(['plan', {str(file)!r}, '--device', 'cpu', '--storage', {str(tmp_path / 'store')!r}])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_narrow_terminal_cuts_no_name(file: Path, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    try:
        command = [
            sys.executable,
            "-m",
            "pmd_ray",
            "plan",
            str(file),
            "--device",
            "cpu",
            "--storage",
            str(tmp_path / "s"),
        ]
        environment = os.environ | {"COLUMNS": "60", "TERM": "xterm", "PYTHONUTF8": "1"}
        process = subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, env=environment)
        os.close(follower)
        read = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            read += part
        assert process.wait() == 0
    finally:
        os.close(leader)
    text = read.decode()
    tree = text.split("for whom")[1].split("cost: about")[0]
    assert max(map(len, tree.splitlines())) <= 60
    assert "no_mgfd" in tree
    assert "├─ 2:0.2" in tree


def test_numbers_of_two_plans_agree_but_for_the_timed_product(pmd: Pmd, file: Path, tmp_path: Path) -> None:
    first, second = (json.dumps(_untimed(plan(pmd, file, "--storage", tmp_path / "store"))) for _ in range(2))
    assert first == second


def _untimed(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key != "cost"}


def test_a_run_says_its_plan_on_standard_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = plan_of(load_tiny(tmp_path), store=None, device="cpu", slots=2)
    assert made.stored == 0
    assert made.seconds.keys() == made.tree.stages.keys()
    say_plan(made)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{DISTINCT} stages ({NAIVE} without sharing), 0 stored, {DISTINCT} to train" in printed.err
    assert "with 2 stages at once" in printed.err
    assert "warning: a two-sided sign-flip test" in printed.err
