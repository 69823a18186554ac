"""docs/factors.md is up to date and holds every factor of the method notes with all its options."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Method notes, section 4, by name there: the field that it is here, and the options that must be legal.
FACTORS: dict[str, tuple[str, list[str]]] = {
    "mask.sequences": ("mask.sequences", ["hr", "tail", "head"]),
    "mask.loss_sequences": ("mask.loss_sequences", ["hr", "tail", "head"]),
    "mask.positions_allowed": ("mask.positions", ["code", "no_special", "description", "neighbours"]),
    "mask.sampling": ("mask.sampling", ["without_replacement", "with_replacement"]),
    "mask.min_tokens": ("mask.min_tokens", ["0", "1"]),
    "mask.replace": ("mask.replace", ["mask", "80_10_10", "attention"]),
    "mask.teacher_input": ("mask.teacher_input", ["same", "clean", "own"]),
    "mask.for_score_loss": ("mask.for_score", ["same", "clean"]),
    "mask.for_ce": ("mask.for_ce", ["masked", "clean"]),
    "mgfd.feature": ("loss.feature.feature", ["tokens", "masked_mean", "sequence"]),
    "mgfd.normalise": ("loss.feature.normalise", ["l2", "none", "layernorm"]),
    "mgfd.reduction": ("loss.feature.reduction", ["mean", "sum_dims"]),
    "mgfd.empty": ("loss.feature.empty", ["skip", "ones"]),
    "mgfd.projector": ("loss.feature.projector", ["none", "linear", "generation"]),
    "mgfd.layers": ("loss.feature.layers", ["last", "mapped"]),
    "score.space": ("loss.score.space", ["logits", "cosine", "softmax_kl", "margin"]),
    "score.margin": ("loss.score.margin", ["student", "both", "none"]),
    "score.diagonal": ("loss.score.diagonal", ["true", "false"]),
    "score.false_negatives": ("loss.score.false_negatives", ["zero", "exclude", "keep"]),
    "score.self_negative_column": ("loss.score.self_negative_column", ["follow_ce", "exclude"]),
    "score.directions": ("loss.score.directions", ["once"]),
    "ce.directions": ("loss.ce.directions", ["both_summed", "both_mean", "forward"]),
    "ce.self_negatives": ("loss.ce.self_negatives", ["true", "false"]),
    "ce.pre_batch": ("loss.ce.pre_batch", ["0", "1", "2"]),
    "ce.margin": ("loss.ce.margin", []),
    "ce.temperature": ("loss.ce.temperature.learnt", ["true", "false"]),
    "ce.temperature, init": ("loss.ce.temperature.init", []),
    "loss.combination": ("loss.combination", ["convex", "additive", "adaptive"]),
    "chain.grades": ("layers", []),
    "chain.mask_rates": ("mask_rates", []),
    "chain.teacher_of_grade": ("teacher", ["previous", "pre_distilled", "baseline"]),
    "init.source": ("init.source", ["encoder", "teacher"]),
    "init.layer_map": ("init.layer_map", ["paper", "uniform", "top", "bottom", "similarity"]),
    "optim.lr": ("optimiser.lr", []),
    "optim.epochs": ("optimiser.epochs", []),
    "optim.batch": ("optimiser.batch", []),
    "optim.other, decay": ("optimiser.weight_decay", []),
    "optim.other, warm-up": ("optimiser.warmup_steps", []),
    "optim.other, warm-up's share": ("optimiser.warmup_share", []),
    "optim.other, schedule": ("optimiser.schedule", ["linear"]),
    "optim.other, clip": ("optimiser.clip", []),
    "optim.other, AMP": ("optimiser.precision", ["auto", "fp32", "bf16"]),
    "select.checkpoint": ("select.checkpoint", ["last", "best"]),
    "eval.rerank": ("evaluation.rerank", ["null"]),
    "eval.rerank, weight": ("evaluation.rerank.weight", []),
    "eval.rerank, hops": ("evaluation.rerank.hops", []),
    "eval.ties": ("evaluation.ties", ["sorted", "mean"]),
    "towers": ("encoder.towers", ["separate", "shared"]),
    "hidden.width": ("init.width", ["null"]),
    # Three more, by the issue that asked for the chain.
    "how many tokens": ("mask.count", ["stochastic", "floor"]),
    "per text": ("mask.per", ["text", "occurrence"]),
    "when nothing is masked": ("loss.feature.when_unmasked", ["nowhere", "random"]),
}
OPEN_END = {"how many tokens", "per text", "when nothing is masked"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_factors", ROOT / "scripts" / "write_factors.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(script: ModuleType) -> dict[str, Any]:
    table = script.factor_table()
    assert len({row.path for row in table}) == len(table)
    return {row.path: row for row in table}


def test_the_committed_table_is_up_to_date(script: ModuleType) -> None:
    written = script.render(script.factor_table())
    assert (ROOT / "docs" / "factors.md").read_text(encoding="utf-8") == written, "run python scripts/write_factors.py"


@pytest.mark.parametrize("factor", FACTORS)
def test_every_factor_of_the_method_is_a_field(rows: dict[str, Any], factor: str) -> None:
    path, options = FACTORS[factor]
    row = rows[path]
    assert [option for option in options if f"`{option}`" not in row.options] == []


@pytest.mark.parametrize("factor", [factor for factor in FACTORS if factor not in OPEN_END])
def test_every_factor_of_the_method_has_a_source(rows: dict[str, Any], factor: str) -> None:
    row = rows[FACTORS[factor][0]]
    assert row.source or any(word in row.meaning for word in ("released code", "PMD", "Yang et al."))


def test_the_list_is_as_long_as_the_table_of_the_method(shared_data: Path) -> None:
    text = (shared_data.parent / "method.md").read_text(encoding="utf-8")
    table = text.split("| factor | options |")[1].split("\n\n")[0]
    named = [line.split("|")[1].strip() for line in table.splitlines()[2:] if line.startswith("|")]
    missing = [name for name in named if not any(key.split(",")[0] == name for key in [*FACTORS, "optim.other"])]
    assert len(named) > 35 and missing == []


def test_every_field_says_what_it_means(rows: dict[str, Any]) -> None:
    silent = {row.path for row in rows.values() if not row.meaning}
    assert silent <= {"encoder.scratch.layers", "encoder.scratch.heads"}


def test_the_columns_say_what_the_presets_do(rows: dict[str, Any]) -> None:
    assert rows["mask.positions"].presets == ("`code`", "·", "·", "·", "·")
    assert rows["loss.score.space"].presets == ("·", "`cosine`", "·", "·", "·")
    assert rows["mask.rate"].presets[0] == "`0.0` / `0.2` / `0.1` / `0.05` / `0.0`"
