"""The simulated cluster of `benchmarks/simulate.py`: beats no bound, loses an epoch at most, says what it missed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pmd_ray.plan.tree import build_tree
from pmd_ray.spec.attempt import AttemptState, FailureKind, Provenance
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.study_file import load_study
from pmd_ray.spec.study_record import DatasetRecord, StudyRecord
from pmd_ray.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
STUDY = """\
baseline: {layers: [4, 2], dataset: {source: cldr}, encoder: {name: scratch}}
variants: {masked: {mask.rate: 0.3}}
seeds: [0, 1]
"""


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The command, and what it is made of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        import benchmarks.simulate as command
        from benchmarks.simulated import case, cluster, figures, study

        yield SimpleNamespace(command=command, case=case, cluster=cluster, figures=figures, study=study)


def test_the_tree_has_so_many_stages_over_shared_prefixes(bench: SimpleNamespace) -> None:
    chain = bench.figures.built_in().chain
    for stages in (1, 80, 500, 1000):
        tree = bench.study.simulated_tree(chain, stages=stages)
        assert max(stages, 80) <= tree.distinct < max(stages, 80) + 60
        assert tree.naive > tree.distinct or stages <= 80
        assert len(tree.roots()) == bench.study.SEEDS


def run(bench: SimpleNamespace, *, gpus: int, stages: int = 40, seed: int = 0, **more: float) -> Any:
    """Over three seeds."""
    workers, epochs = int(more.pop("workers", 1)), int(more.pop("epochs", 10))
    trouble = bench.cluster.Trouble(**more)
    how = {"workers": workers, "epochs": epochs, "seeds": 3, "seed": seed}
    asked = bench.case.Asked(gpus=gpus, stages=stages, trouble=trouble, **how)
    return bench.case.run_case(asked, bench.figures.built_in())


def test_one_gpu_without_trouble_takes_as_long_as_all_work(bench: SimpleNamespace) -> None:
    found = run(bench, gpus=1)
    assert found.trained == found.stages == found.attempts
    assert found.over == pytest.approx(0.0, abs=1e-9)
    assert found.utilisation == pytest.approx(1.0)
    assert found.running == pytest.approx(1.0)


def test_a_gpu_for_each_stage_takes_as_long_as_the_longest_chain(bench: SimpleNamespace) -> None:
    found = run(bench, gpus=500)
    assert found.over == pytest.approx(0.0, abs=1e-9)
    assert found.utilisation < 0.5


@settings(max_examples=10, deadline=None)
@given(
    gpus=st.integers(2, 30),
    preemptions=st.sampled_from([0.0, 1.0, 30.0]),
    failures=st.sampled_from([0.0, 0.1]),
    elsewhere=st.sampled_from([0.0, 0.1]),
    epochs=st.sampled_from([1, 10]),
    seed=st.integers(0, 1000),
)
@example(gpus=11, preemptions=30.0, failures=0.1, elsewhere=0.1, epochs=1, seed=116)  # no stage comes to its end
def test_no_case_beats_its_bound_or_loses_more_than_an_epoch(
    bench: SimpleNamespace,
    gpus: int,
    preemptions: float,
    failures: float,
    elsewhere: float,
    epochs: int,
    seed: int,
) -> None:
    trouble = {"preemptions": preemptions, "failures": failures, "elsewhere": elsewhere}
    found = run(bench, gpus=gpus, seed=seed, epochs=epochs, **trouble)
    assert found.trained + found.elsewhere + found.failed == found.stages
    assert found.over >= -1e-9
    assert 0.0 < found.utilisation <= 1.0 + 1e-9
    assert found.running <= gpus + 1e-9
    mean, most = found.lost_epochs
    assert 0.0 <= mean <= most <= 1.0
    assert found.elsewhere == 0 or elsewhere > 0.0
    assert found.failed == 0 or failures > 0.0 or preemptions > 0.0


def test_a_preempted_stage_is_tried_again(bench: SimpleNamespace) -> None:
    found = run(bench, gpus=10, stages=200, preemptions=20.0)
    assert found.trained == found.stages
    assert found.preempted > 10
    assert found.attempts == found.stages + found.preempted
    # Half an epoch each on average, and each GPU is lost so often a day.
    assert 0.3 < found.lost_epochs[0] < 0.7
    assert found.preempted == pytest.approx(20.0 * found.running * found.makespan_s / 86_400, rel=0.4)


def test_fewer_epochs_lose_more(bench: SimpleNamespace) -> None:
    many, one = (run(bench, gpus=10, stages=200, preemptions=20.0, epochs=epochs) for epochs in (10, 1))
    assert one.lost_share > 2 * many.lost_share
    assert one.over > many.over


def test_a_seed_decides_everything(bench: SimpleNamespace) -> None:
    trouble = {"preemptions": 5.0, "failures": 0.05, "elsewhere": 0.05}
    first, again, other = (run(bench, gpus=7, seed=seed, **trouble) for seed in (1, 1, 2))
    assert (
        (first.makespan_s, first.attempts) == (again.makespan_s, again.attempts) != (other.makespan_s, other.attempts)
    )


def test_groups_hold_their_gpus_and_have_helpers(bench: SimpleNamespace) -> None:
    found = run(bench, gpus=34, workers=8, preemptions=5.0)
    assert found.trained == found.stages
    assert found.running <= 4
    assert found.helpers_gb == (pytest.approx(4 * 0.65), pytest.approx(0.8))
    assert run(bench, gpus=34).helpers_gb == (0.0, 0.0)


def test_figures_of_a_store(bench: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(STUDY, encoding="utf-8")
    study = load_study(str(tmp_path / "small.yaml"))
    tree = build_tree(study.runs(), lambda chain: bench.study.FACTS)
    store = Store.open(tmp_path / "store")
    with pytest.raises(UserError, match="no study there has trained stages"):
        bench.figures.of_store(store.location)
    counts = dict.fromkeys(("entities", "relations", "train", "valid", "test"), 9)
    record = StudyRecord(
        study=study,
        file="small.yaml",
        storage=store.location,
        device="cpu",
        dataset=DatasetRecord(name="cldr", source="cldr", fingerprint="d" * 64, **counts),
        encoders={"scratch": "e" * 64},
        created="2024-05-06T07:08:09+00:00",
        command="pmd ablate small.yaml",
        runs=tree.runs,
        keys=tuple(tree.stages),
    )
    store.register("small", record.model_dump_json())
    for place, stage in enumerate(tree.stages.values()):
        seconds = 100.0 * stage.grade.layers * (1.1 if stage.seed else 1.0)
        if place == 0:
            writer = store.begin(stage.key, study="small")
            writer.end(AttemptState.FAILED, FailureKind.TIMEOUT, seconds=3.0, cpu_seconds=1.0, gpu_seconds=0.0)
        writer = store.begin(stage.key, study="small")
        writer.end(AttemptState.DONE, None, seconds=seconds + 10 + place, cpu_seconds=1.0, gpu_seconds=0.0)
        work = store.work(stage.key) / "artifact"
        work.mkdir(parents=True)
        (work / "weights").write_bytes(b"0")
        store.publish(stage.key, work, provenance=Provenance(package="0"), seconds=seconds)
    found = bench.figures.of_store(store.location)
    assert found.chain == study.variants[0].arms[0].chain
    assert found.seconds == {(4, False): pytest.approx(420.0), (2, True): pytest.approx(210.0)}
    assert found.spread == pytest.approx(0.0477, abs=1e-3)
    # The first stage was tried twice: what it took to start is not known.
    assert found.starts == tuple(pytest.approx(10.0 + place) for place in range(1, len(tree.stages)))
    assert found.failures == {FailureKind.TIMEOUT: 1}
    assert found.expected(3, taught=True) == pytest.approx(210.0 * 3 / 2)


def test_what_was_promised_and_missed(bench: SimpleNamespace) -> None:
    command: ModuleType = bench.command
    small = run(bench, gpus=3)
    assert not command.is_promised(small) and command.broken_promises(small) == []
    good = replace(small, gpus=1000, stages=100_000, bound_s=small.makespan_s, peak_mb=900.0)
    good = replace(good, walk_cpu_s=0.0, ray_cpu_s=0.0)
    assert command.is_promised(good) and command.broken_promises(good) == []
    late = replace(good, bound_s=good.makespan_s / 1.1)
    assert len(command.broken_promises(late)) == 1
    assert command.broken_promises(replace(late, preemptions=1.0)) == []
    bad = replace(good, peak_mb=4100.0, walk_cpu_s=good.makespan_s, bound_s=good.makespan_s / 1.2, preemptions=1.0)
    assert len(command.broken_promises(bad)) == 3


@pytest.mark.whole
def test_as_json_and_as_a_table(bench: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--gpus", "2", "--stages", "80", "--preemptions", "0", "1"]
    assert bench.command.main([*given, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["gpus"], row["preemptions"], row["missed"]) for row in rows] == [(2, 0.0, []), (2, 1.0, [])]
    assert all(row["peak_mb"] > 20 for row in rows)
    assert bench.command.main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| 2 | 80 |") for line in lines) == 2


@pytest.mark.parametrize(
    "given", ["--gpus 0", "--failures 1", "--preemptions -1", "--preemptions nan", "--workers 11", "--epochs x"]
)
def test_arguments_that_are_refused(bench: SimpleNamespace, given: str) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.command.main(given.split())
    assert ended.value.code == 2


def test_a_place_without_a_store(bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.command.main(["--store", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err
