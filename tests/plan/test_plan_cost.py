"""What stages cost: measured where it was, by like stages, by all that was measured, else counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pmd_ray.plan import rate as rates
from pmd_ray.plan.cost import Measured, StageCost, counted_seconds, stage_costs
from pmd_ray.plan.identities import Identities, identify
from pmd_ray.plan.memory import peak_memory
from pmd_ray.plan.rate import Rate, cpu_rate, gpu_rate
from pmd_ray.plan.text_counts import TextCounts
from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.plan.workload import Workload, workloads
from pmd_ray.spec import cpu

RATE = Rate(1e9, "at 1 GFLOP/s")


class Case:
    """A study's stages, and their costs under what was measured."""

    def __init__(self, study: Any, device: str = "cpu") -> None:
        self.identities: Identities = identify(study, device=device)
        self.tree: StageTree = build_tree(study.runs(), self.identities.facts_of)
        self.works: dict[str, Workload] = workloads(self.tree, self.identities)

    def key(self, grade: str, seed: int, variant: str = "baseline") -> str:
        for run in self.tree.runs:
            if (run.variant, run.seed) == (variant, seed):
                return next(use.key for use in run.stages if use.grade == grade)
        raise KeyError(grade)

    def costs(self, *measured: Measured, threads: int = 1) -> dict[str, StageCost]:
        names = {key: stage.grade.name for key, stage in self.tree.stages.items()}
        texts = self.identities.texts
        return stage_costs(self.works, names, texts, measured=measured, rate=RATE, threads=threads)


@pytest.fixture
def case(studied: Any) -> Case:
    return Case(studied({"longer": {"optimiser.epochs": 4}, "wide": {"loss.ce.self_negatives": True}}))


def test_without_measurements_operations_are_counted(case: Case) -> None:
    costs = case.costs()
    assert {cost.source for cost in costs.values()} == {"counted, at 1 GFLOP/s"}
    teacher, long = costs[case.key("teacher", 0)], costs[case.key("teacher", 0, "longer")]
    assert teacher.seconds < long.seconds < 2 * teacher.seconds
    # Heads are encoded too, so that every step costs more.
    assert costs[case.key("teacher", 0, "wide")].seconds > teacher.seconds
    assert teacher.wall_seconds == teacher.seconds


def test_an_equal_stage_costs_what_it_cost(case: Case) -> None:
    key = case.key("2", 0)
    found = case.costs(Measured(key=key, seconds=30.0, cpu_seconds=50.0, threads=2), threads=2)[key]
    assert (found.seconds, found.wall_seconds, found.source) == (50.0, 30.0, "measured here")


def test_the_wall_clock_of_other_threads_is_not_taken(case: Case) -> None:
    key = case.key("2", 0)
    found = case.costs(Measured(key=key, seconds=60.0, cpu_seconds=50.0, threads=1), threads=2)[key]
    assert found.wall_seconds == 25.0


def test_another_seed_costs_alike(case: Case) -> None:
    measured = Measured(key=case.key("2", 0), seconds=30.0, cpu_seconds=50.0)
    found = case.costs(measured)[case.key("2", 1)]
    assert found.seconds == pytest.approx(50.0)
    assert found.source == "measured: like 2 on 1 stage"


def test_more_epochs_cost_more_in_proportion(case: Case) -> None:
    key = case.key("2", 0)
    found = case.costs(Measured(key=key, seconds=30.0, cpu_seconds=50.0))[case.key("2", 0, "longer")]
    counted = case.costs()
    assert found.source.startswith("measured: like 2")
    assert found.seconds == pytest.approx(50.0 * counted[found.key].seconds / counted[key].seconds)


def test_what_is_unlike_is_counted_and_put_right_by_what_was_measured(case: Case) -> None:
    key, other = case.key("2", 0), case.key("teacher", 0, "wide")
    counted = case.costs()
    measured = Measured(key=key, seconds=1.0, cpu_seconds=3 * counted[key].seconds)
    found = case.costs(measured)[other]
    assert found.seconds == pytest.approx(3 * counted[other].seconds)
    assert found.source == "counted, times 3 as 1 measured stage"


def test_a_stage_of_another_study_serves_where_it_is_like(case: Case) -> None:
    work = case.works[case.key("2", 0)]
    elsewhere = Measured(key="f" * 64, seconds=9.0, cpu_seconds=9.0, workload=work)
    found = case.costs(elsewhere)[case.key("2", 1)]
    assert found.seconds == pytest.approx(9.0)
    assert found.source == "measured: like a stage of another study on 1 stage"


def test_on_a_gpu_its_seconds_count(studied: Any) -> None:
    case = Case(studied({"x": {"loss.alpha": 0.3}}), device="cuda")
    key = case.key("2", 0)
    assert case.works[key].device == "cuda-bf16"
    found = case.costs(Measured(key=key, seconds=30.0, cpu_seconds=50.0), threads=4)[key]
    assert (found.seconds, found.wall_seconds) == (30.0, 30.0)


def test_recomputing_costs_time_and_saves_memory(case: Case) -> None:
    texts = case.identities.texts
    plain = replace(case.works[case.key("2", 0)], layers=12, width=768)
    caching = replace(plain, recomputes=True, micro_batch=4)
    assert counted_seconds(caching, texts, RATE) > counted_seconds(plain, texts, RATE)
    assert peak_memory(caching, texts) < peak_memory(plain, texts)


def test_scores_of_large_batches_take_a_byte_a_pair(case: Case) -> None:
    texts, work = case.identities.texts, case.works[case.key("2", 0)]
    caching = replace(work, recomputes=True, micro_batch=4)
    few, many = (
        peak_memory(replace(caching, reading=replace(caching.reading, batch=batch)), texts) for batch in (2048, 8192)
    )
    assert many - few == pytest.approx(8192**2 - 2048**2, rel=0.1)


def test_five_million_entities_fit(case: Case) -> None:
    """Their vectors lie in a file on a CPU, and a ranking's scores are those of a block."""
    sizes = replace(case.identities.texts.sizes, entities=5_000_000)
    work = replace(case.works[case.key("2", 0)], layers=12, width=768)
    few, many = (peak_memory(work, TextCounts(one)) for one in (case.identities.texts.sizes, sizes))
    assert many - few < 3e9
    on_gpu = replace(work, device="cuda-bf16")
    assert peak_memory(on_gpu, TextCounts(sizes)) > 5_000_000 * 768 * 4, "the table is on the device"


def test_a_constant_teacher_costs_less_than_a_live_one(case: Case) -> None:
    live = replace(case.works[case.key("2", 0)], epochs=50)
    once = replace(live, teacher="once")
    assert counted_seconds(once, case.identities.texts, RATE) < counted_seconds(live, case.identities.texts, RATE)


def test_weights_of_the_student_take_more_memory_than_the_teachers(case: Case) -> None:
    work, texts = case.works[case.key("2", 0)], case.identities.texts
    heavier = replace(work, weights=work.weights + 1_000_000)
    taught = replace(work, teacher_weights=work.teacher_weights + 1_000_000)
    assert peak_memory(heavier, texts) - peak_memory(work, texts) == pytest.approx(18e6)
    assert peak_memory(taught, texts) - peak_memory(work, texts) == pytest.approx(4e6)


def test_the_rate_of_this_machine_is_measured() -> None:
    found = cpu_rate()
    assert found.operations > 1e7
    assert "product timed here" in found.source


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 avx512f avx512dq\n", 1.6),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 sha_ni\n", 0.75),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512f avx512dq\n", 0.75),
        (None, 0.75),
    ],
)
def test_a_rate_knows_what_numpy_leaves_unused(
    told: str | None, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "TOLD", tmp_path / "cpuinfo")
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told, encoding="utf-8")
    assert f"times {share})" in cpu_rate().source


@pytest.mark.parametrize(
    ("name", "part"),
    [("NVIDIA H200", "200 TFLOP/s on NVIDIA H200"), ("NVIDIA A100-SXM4-40GB", "110 TFLOP/s"), (None, "unknown")],
)
def test_the_rate_of_a_gpu_is_assumed_and_says_so(name: str | None, part: str) -> None:
    found = gpu_rate(name)
    assert found.source.startswith("assuming")
    assert part in found.source
    assert found.of("cuda-fp32") < found.of("cuda-bf16") == found.operations


def test_the_driver_names_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "DRIVER", tmp_path)
    assert rates.gpu_name() is None
    (tmp_path / "0000:00:01.0").mkdir()
    (tmp_path / "0000:00:01.0" / "information").write_text("Model: \t\t NVIDIA L4\nIRQ: 7\n")
    assert rates.gpu_name() == "NVIDIA L4"
