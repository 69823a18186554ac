"""A step: gradient caching changes nothing, what is counted, and what stops it."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from reference import tiny_chain
from torch import Tensor

from pmd_ray.model import losses
from pmd_ray.model.bi_encoder import word_module, word_weights
from pmd_ray.model.operations import forward_operations
from pmd_ray.spec.errors import NotFiniteError
from pmd_ray.train.batches import Batch
from pmd_ray.train.curves import Curves
from pmd_ray.train.events import StepDone, silent
from pmd_ray.train.stage import _Training
from pmd_ray.train.step import Launched, StepLog
from pmd_ray.train.workers import Workers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("step")
    tiny_chain.tiny(tiny_chain.written_graph(folder), folder / "run", optimiser__epochs=1).train(0)
    return folder


def training(folder: Path, place: int = 1, **settings: Any) -> _Training:
    settings = {"encoder__dropout": 0.0, "mask__min_tokens": 0, **settings}
    chain = tiny_chain.tiny(folder / "tiny", folder / "run", **settings)
    return _Training(chain.stages[place], chain.shop, tiny_chain.ALONE, silent)


def first_step(found: _Training, batch: Batch | None = None) -> StepLog:
    return found.step.run(batch or found.batches.make(0, 0), epoch=0, step=0, done=0, detailed=True)


def gradients(found: _Training) -> dict[str, Tensor]:
    weights = [*found.model.named_parameters(), *found.objective.named_parameters()]
    return {name: weight.grad.clone() for name, weight in weights if weight.grad is not None}


KINDS: dict[str, dict[str, Any]] = {
    "masked means": {"preset": "pmd_scaled"},
    "tokens of all layers": {"preset": "pmd_paper", "loss__feature__layers": "mapped"},
    "clean labels, hidden tokens": {"mask__for_ce": "clean", "mask__replace": "attention"},
    "released code with heads": {"preset": "pmd_code", "loss__ce__self_negatives": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_micro_batch_gives_the_full_batch(folder: Path, kind: str) -> None:
    few: dict[str, Any] = {"optimiser__batch": 16, "dataset__text__max_tokens": 20, **KINDS[kind]}
    whole = training(folder, **few)
    log = first_step(whole)
    wanted = gradients(whole)
    length = torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
    for micro in (1, 7):
        cached = training(folder, optimiser__micro_batch=micro, **few)
        found = first_step(cached)
        assert found.loss == pytest.approx(log.loss, rel=1e-5)
        assert found.parts == pytest.approx(log.parts, rel=1e-5)
        assert found.part_gradients == pytest.approx(log.part_gradients, rel=1e-4)
        for name, gradient in gradients(cached).items():
            # A key's bias has no gradient but rounding: it adds the same to all of a query's attention scores.
            # (Rounding in fp32 is up to 1e-5 of the rest.)
            assert (gradient - wanted[name]).norm() <= 3e-5 * torch.maximum(wanted[name].norm(), 0.01 * length), name


@pytest.mark.parametrize("kind", [*KINDS, "earlier tails"])
def test_scores_made_by_rows_give_the_same_step(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few: dict[str, Any] = {"optimiser__batch": 16, "dataset__text__max_tokens": 20}
    few |= KINDS.get(kind, {"loss__ce__pre_batch": 1})

    def step() -> tuple[_Training, StepLog]:
        found, kept = training(folder, **few), torch.randn(16, 32, generator=torch.Generator().manual_seed(1))
        if kind == "earlier tails":
            found.step.earlier.vectors.append(torch.nn.functional.normalize(kept, dim=-1))
            found.step.earlier.entities.append(torch.arange(16))
        return found, first_step(found)

    whole, log = step()
    wanted = gradients(whole)
    rows_of, made = losses.Product.__getitem__, list[slice]()

    def noted(product: losses.Product, rows: slice) -> Tensor:
        made.append(rows)
        return rows_of(product, rows)

    monkeypatch.setattr(losses, "SCORE_CELLS", {"cpu": 80})  # five rows of sixteen columns, two of 32
    monkeypatch.setattr(losses.Product, "__getitem__", noted)
    by_rows, found = step()
    assert {rows.start for rows in made} >= ({0, 2, 4, 14} if kind == "earlier tails" else {0, 5, 10, 15})
    assert found.parts == pytest.approx(log.parts, rel=1e-5)
    assert found.part_gradients == pytest.approx(log.part_gradients, rel=1e-4)
    for name, gradient in gradients(by_rows).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-6)


def test_gradient_caching_repeats_dropout(folder: Path) -> None:
    """The second run of a group draws what the first drew: the gradient is that of the loss that was measured."""
    kept, again = (training(folder, encoder__dropout=0.3, optimiser__micro_batch=micro) for micro in (64, None))
    assert first_step(kept).loss == pytest.approx(first_step(again).loss, rel=1e-6)
    for name, gradient in gradients(kept).items():
        assert torch.allclose(gradient, gradients(again)[name], rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize("towers", ["separate", "shared"])
def test_gradients_of_words_keep_their_memory_and_no_value(
    folder: Path, towers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking tens of megabytes anew each step costs page faults; what a step before left there must not count."""
    found = training(
        folder, encoder__dropout=0.0, encoder__towers=towers, **({"place": 0} if towers == "shared" else {})
    )
    monkeypatch.setattr(found.step.optimiser, "step", lambda: None)
    tables = [word_weights(tower) for tower in found.model.towers.values()]
    first, second = found.batches.make(0, 0), found.batches.make(0, 1)
    first_step(found, second)
    wanted, places = gradients(found), [table.grad.data_ptr() for table in tables if table.grad is not None]
    assert len(places) == len(tables)
    first_step(found, first)
    assert any(not torch.equal(gradient, wanted[name]) for name, gradient in gradients(found).items())
    first_step(found, second)
    assert all(torch.equal(gradient, wanted[name]) for name, gradient in gradients(found).items())
    assert [table.grad.data_ptr() for table in tables if table.grad is not None] == places


def test_a_step_warns_of_nothing(folder: Path) -> None:
    found = training(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log = first_step(found)
    assert log.temperature == math.exp(-found.model.log_inverse_t.item())
    assert log.loss == pytest.approx(sum(found.objective.weights[name] * part for name, part in log.parts.items()))


def test_sequences_without_masked_tokens_are_counted(folder: Path) -> None:
    """Factor mask.min_tokens; 2.7, C7. Heads are masked and enter no feature loss (C10): they do not count."""
    found = training(folder, preset="pmd_code", mask_rates=[0.05], loss__ce__self_negatives=True)
    batch = found.batches.make(0, 0)
    log = first_step(found, batch)
    count = 0
    for rows, side in ((batch.rows["hr"], batch.hr), (batch.rows["tail"], batch.tail)):
        for row in rows.tolist():
            low, high = side.tokens.ids.offsets[row : row + 2]
            count += not ((side.drawn.places >= low) & (side.drawn.places < high)).any()
    assert (log.texts, log.unmasked_texts) == (64, count)
    assert 0 < count < 64
    assert log.tokens == len(batch.hr.tokens.ids.values) + len(batch.tail.tokens.ids.values)
    one = first_step(training(folder, preset="pmd_code", mask_rates=[0.05], mask__loss_sequences=["tail"]))
    assert one.texts == 32


@pytest.mark.parametrize(("rate", "teacher"), [(0.2, True), (0.0, False)])
def test_operations_are_those_of_distinct_texts(folder: Path, rate: float, teacher: bool) -> None:
    """Three passes of the student, one of the teacher unless its vectors are looked up."""
    found = training(folder, preset="pmd_code", mask_rates=[rate], mask__per="text")
    batch = found.batches.make(0, 0)
    assert found.teacher is not None
    if not teacher:
        found.teacher.tabulate(found.batches, found.workers, lambda done, total: None)
    lengths = np.concatenate([batch.hr.tokens.ids.lengths, batch.tail.tokens.ids.lengths])
    passes = 3 * found.model.layers + teacher * found.teacher.model.layers
    assert first_step(found, batch).operations == passes * forward_operations(lengths, found.model.config, 1)


@pytest.mark.parametrize(("settings", "texts"), [({"mask_rates": [0.0]}, 64), ({"loss__beta": 0.0}, 0)])
def test_all_are_unmasked_at_rate_0(folder: Path, settings: dict[str, Any], texts: int) -> None:
    log = first_step(training(folder, **settings))
    assert (log.texts, log.unmasked_texts) == (texts, texts)


def test_a_loss_that_is_not_finite_stops(folder: Path) -> None:
    found = training(folder)
    with torch.no_grad():
        next(found.model.hr.parameters())[:] = torch.nan
    before = {name: weight.clone() for name, weight in found.model.named_parameters()}
    with pytest.raises(NotFiniteError, match="the loss became nan at step 1"):
        first_step(found)
    assert all(torch.equal(weight, before[name]) for name, weight in found.model.tail.named_parameters(prefix="tail"))


def test_a_gradient_that_is_not_finite_leaves_the_weights(folder: Path) -> None:
    found = training(folder)
    temperature: Any = found.model.log_inverse_t
    temperature.register_hook(lambda gradient: gradient * torch.inf)
    before = {name: weight.clone() for name, weight in found.model.named_parameters()}
    with pytest.raises(NotFiniteError, match=r"the gradient's norm became (inf|nan) at step 4"):
        found.step.run(found.batches.make(0, 3), epoch=0, step=3, done=3, detailed=False)
    assert all(torch.equal(weight, before[name]) for name, weight in found.model.named_parameters())


def test_no_synchronisation_for_each_example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2.11: the released pooling calls `.tolist()` for every example, and waits for the GPU each time."""
    calls: Counter[str] = Counter()
    for name in ("tolist", "item", "cpu", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(Tensor, name, _counted(getattr(Tensor, name), name, calls))
    found = []
    for batch in (4, 64):
        made = training(folder, optimiser__batch=batch)
        calls.clear()
        first_step(made)
        found.append(dict(calls))
    assert found[0] == found[1]
    assert sum(found[0].values()) < 40


def _counted(real: Callable[..., Any], name: str, calls: Counter[str]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        calls[name] += 1
        return real(*args)

    return counted


class Shapes(torch.optim.SGD):
    """On a device without values nothing can be updated."""

    def step(self, closure: Any = None) -> None:
        assert self.found_inf.shape == ()  # type: ignore[attr-defined]


def without_values(found: _Training) -> _Training:
    """The same training on a device that knows shapes alone: whoever asks it for a value, or waits for one, fails."""
    nowhere = torch.device("meta")
    step = found.step
    step.workers = Workers(0, 1, nowhere)
    for module in (found.model, found.objective, *([found.teacher.model] if found.teacher else [])):
        module.to(nowhere)
    for tower in found.model.towers.values():
        words: Any = word_module(tower)
        words.places = words.places.to(nowhere)
    if found.teacher is not None:
        found.teacher._device = nowhere
    weights = [*found.model.parameters(), *found.objective.parameters()]
    step.optimiser = Shapes([{"params": weights, "peak": 1.0}], lr=1.0)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("micro", [None, 5])
def test_a_step_waits_for_nothing(folder: Path, kind: str, micro: int | None) -> None:
    """2.11: the released code asks the GPU for values in every step, and for every example."""
    found = without_values(training(folder, optimiser__micro_batch=micro, optimiser__clip=1.0, **KINDS[kind]))
    launched = found.step.launch(found.step.ready(found.batches.make(0, 0)), epoch=0, step=0, done=0, detailed=True)
    assert launched.number == 1 and "label" in launched.names
    with pytest.raises(NotImplementedError):  # the stand-in does notice
        launched.numbers.read()


def test_earlier_tails_wait_for_nothing(folder: Path) -> None:
    found = without_values(training(folder, loss__ce__pre_batch=2, loss__ce__self_negatives=True))
    for step in range(2):
        found.step.launch(found.step.ready(found.batches.make(0, step)), epoch=0, step=step, done=step, detailed=False)
    assert len(found.step.earlier.vectors) == 2
    assert all(entities.device.type == "cpu" for entities in found.step.earlier.entities)


def test_a_teacher_that_is_looked_up_waits_for_nothing(folder: Path) -> None:
    found = training(folder, mask_rates=[0.0])
    assert found.teacher is not None
    found.teacher.tabulate(found.batches, found.workers, lambda done, total: None)
    without_values(found)
    tables = found.teacher._tables
    found.teacher._tables = {
        tower: replace(table, vectors=table.vectors.to(found.step.workers.device)) for tower, table in tables.items()
    }
    found.step.launch(found.step.ready(found.batches.make(0, 0)), epoch=0, step=0, done=0, detailed=True)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_gpu_is_told_its_next_step_before_anybody_reads_the_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """And every step is told, in order, before its epoch is validated; the result is that of a CPU."""
    heard: list[tuple[str, int]] = []
    found = training(folder, optimiser__epochs=2)
    found.listen = lambda event: heard.append(("told", event.done)) if isinstance(event, StepDone) else None
    monkeypatch.setattr(found.step, "launch", _noted(found.step.launch, heard))
    monkeypatch.setattr(found, "_validate", lambda curves: heard.append(("validated", found.progress.steps)))
    monkeypatch.setattr(found, "_save", lambda curves: None)
    found.workers = Pretends(0, 1, torch.device("cpu"), device)  # type: ignore[assignment]
    curves = Curves(None, from_step=0)
    for epoch in range(2):
        found._epoch(epoch, curves)
    steps = found.batches.steps_per_epoch
    assert steps > 2
    expected: list[tuple[str, int]] = []
    for epoch in range(2):
        numbers = range(epoch * steps + 1, (epoch + 1) * steps + 1)
        for number in numbers:
            expected.append(("launched", number))
            if device == "cpu":
                expected.append(("told", number))
            elif number > numbers[0]:
                expected.append(("told", number - 1))
        expected += [("told", numbers[-1])] if device == "cuda" else []
        expected.append(("validated", numbers[-1]))
    assert heard == expected


def test_a_step_that_was_not_finite_is_told_with_its_number_however_late(folder: Path) -> None:
    found = training(folder)
    temperature: Any = found.model.log_inverse_t
    temperature.register_hook(lambda gradient: gradient * torch.nan)
    found.workers = Pretends(0, 1, torch.device("cpu"), "cuda")  # type: ignore[assignment]
    before = {name: weight.clone() for name, weight in found.model.named_parameters()}
    with pytest.raises(NotFiniteError, match="the gradient's norm became nan at step 1"):
        found._epoch(0, Curves(None, from_step=0))
    assert found.progress.steps == 0
    assert all(torch.equal(weight, before[name]) for name, weight in found.model.named_parameters())


class Pretends(Workers):
    """A lone worker that says it has a GPU, though its tensors are the CPU's."""

    def __init__(self, rank: int, size: int, device: torch.device, kind: str) -> None:
        super().__init__(rank, size, device)
        object.__setattr__(self, "device", SimpleNamespace(type=kind))


def _noted(real: Callable[..., Launched], heard: list[tuple[str, int]]) -> Callable[..., Launched]:
    def launch(*args: Any, **named: Any) -> Launched:
        heard.append(("launched", named["done"] + 1))
        return real(*args, **named)

    return launch
