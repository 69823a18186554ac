"""A grade from its configuration to its folder: what it keeps, what stops it, what it never looks at."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from reference import tiny_chain
from reference.tiny_chain import Tiny
from safetensors import SafetensorError
from torch import Tensor

from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.folder import load_trained
from pmd_ray.spec.errors import NotFiniteError, StorageError
from pmd_ray.train import stage as stage_module
from pmd_ray.train.checkpoint import model_tensors, read_progress
from pmd_ray.train.epochs_file import EPOCHS, read_epochs
from pmd_ray.train.evaluate import Ranked
from pmd_ray.train.events import EpochDone, Event, GradeDone, StepDone
from pmd_ray.train.objective import Objective

pytestmark = pytest.mark.whole

STEPS = 2
"""Updates of an epoch."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chain.written_graph(tmp_path_factory.mktemp("stage"))


def teacher(source: Path, out: Path, **settings: Any) -> Tiny:
    """A teacher alone: the quickest grade."""
    quick: dict[str, Any] = {"preset": "simkgc", "layers": (1,), "dataset__text__max_tokens": 16}
    return tiny_chain.tiny(source, out, optimiser__batch=64, **quick, **settings)


def weights_of(chain: Tiny) -> dict[str, Tensor]:
    return model_tensors(load_trained(chain.stages[0].out / "model").model)


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    chain = teacher(source, tmp_path_factory.mktemp("undisturbed"))
    chain.train()
    return weights_of(chain)


@pytest.fixture(scope="module")
def last_epoch(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    chain = teacher(source, tmp_path_factory.mktemp("last"), select__checkpoint="last")
    chain.train()
    return weights_of(chain)


def test_a_loss_that_is_not_finite(
    source: Path, tmp_path: Path, undisturbed: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names grade, step, what is kept and the way out; the next call goes on from there."""
    chain = teacher(source, tmp_path)
    stage, real, count = chain.stages[0], Objective.total, 0

    def total(objective: Objective, parts: dict[str, Tensor]) -> Tensor:
        nonlocal count
        count += 1
        return real(objective, parts) * (torch.nan if count == STEPS + 1 else 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "total", total)
        with pytest.raises(NotFiniteError) as raised:
            chain.train()
    message = str(raised.value)
    for part in (
        "grade 'teacher'",
        f"the loss became nan at step {STEPS + 1}",
        f"epoch 1 is kept in {stage.work}",
        "optimiser.lr",
    ):
        assert part in message
    assert not stage.out.exists()
    progress = read_progress(stage.work, stage.key)
    assert progress is not None and (progress.epoch, progress.steps) == (1, STEPS)
    steps: list[int] = []
    chain.train(listen=lambda event: steps.append(event.done) if isinstance(event, StepDone) else None)
    assert steps == list(range(STEPS + 1, 3 * STEPS + 1))
    assert_equal(weights_of(chain), undisturbed)


def test_weights_that_are_not_finite_after_the_last_step_of_an_epoch(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loss has seen them yet; the validation does, and no checkpoint holds them."""
    chain, real, count = teacher(source, tmp_path), torch.optim.AdamW.step, 0

    def step(optimiser: torch.optim.AdamW, *args: Any) -> Any:
        nonlocal count
        count += 1
        done = real(optimiser, *args)
        if count == 2 * STEPS:
            with torch.no_grad():
                optimiser.param_groups[0]["params"][3].fill_(torch.inf)
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(
        NotFiniteError, match=rf"vectors hold NaN or infinity.*after {2 * STEPS} updates; epoch 1 is kept"
    ):
        chain.train()
    assert not chain.stages[0].out.exists()


class Spy:
    """Ranks as `rank_split` does, notes what it is asked, and may make up the validation MRR."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *mrrs: float) -> None:
        self.calls: list[tuple[str, int | None, bool]] = []
        self.weights: list[dict[str, Tensor]] = []
        self.queries: list[Any] = []
        self._real = vars(stage_module)["rank_split"]
        monkeypatch.setattr(stage_module, "rank_split", self.rank)
        if mrrs:
            made_up = iter(mrrs)
            monkeypatch.setattr(Ranked, "mrr", lambda ranked: next(made_up))

    def rank(self, model: BiEncoder, *args: Any, sample: int | None = None, **options: Any) -> Ranked:
        ranked: Ranked = self._real(model, *args, sample=sample, **options)
        self.calls.append((ranked.split, sample, model.training))
        self.weights.append({name: value.clone() for name, value in model_tensors(model).items()})
        self.queries.append(ranked.queries)
        return ranked


@pytest.mark.parametrize(
    ("checkpoint", "mrrs", "kept"),
    [
        ("best", (0.3, 0.5, 0.4), 2),
        ("best", (0.5, 0.3, 0.5), 1),  # the first of equals
        ("best", (0.3, 0.4, 0.5), 3),
        ("last", (0.5, 0.3, 0.4), 3),
    ],
)
def test_which_epoch_is_published(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: str, mrrs: tuple[float, ...], kept: int
) -> None:
    """C19, 2.9: the released code calls its last checkpoint best."""
    spy = Spy(monkeypatch, *mrrs)
    chain = teacher(source, tmp_path, select__checkpoint=checkpoint)
    result = chain.train()
    assert (result.best_epoch, result.epochs) == (kept, 3)
    assert_equal(weights_of(chain), spy.weights[kept - 1])
    others = [spy.weights[epoch] for epoch in range(3) if epoch != kept - 1]
    assert all(not torch.equal(spy.weights[kept - 1]["log_inverse_t"], other["log_inverse_t"]) for other in others)


def test_training_looks_at_validation_only(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C20 and the house's rule: validation selects, test reports; the model trains on with dropout after it."""
    spy = Spy(monkeypatch)
    seen: list[Any] = []
    chain = teacher(source, tmp_path)
    chain.train(after_epoch=lambda progress: seen.append([split for split, *_ in spy.calls]))
    assert seen == [["valid"] * epoch for epoch in (1, 2, 3)]
    assert spy.calls[:3] == [("valid", None, True)] * 3
    assert {split for split, *_ in spy.calls[3:]} <= {"valid", "test"} and spy.calls[-1][0] == "test"


def test_the_validation_sample_is_the_same_each_epoch(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    result = teacher(source, tmp_path, select__valid_triples=4).train()
    sizes = [(split, sample, len(queries)) for (split, sample, _), queries in zip(spy.calls, spy.queries, strict=True)]
    assert sizes[:3] == [("valid", 4, 8)] * 3
    assert all((queries == spy.queries[0]).all() for queries in spy.queries[1:3])
    assert sizes[3] == ("valid", None, 20)  # what is reported is the whole split
    assert result.valid is not None and result.valid.all.queries == 20


def test_every_epoch_is_told_and_kept_with_the_artifact(source: Path, tmp_path: Path) -> None:
    chain, events = teacher(source, tmp_path), list[Event]()
    result = chain.train(listen=events.append)
    told = [event for event in events if isinstance(event, EpochDone)]
    kept = read_epochs(chain.stages[0].out / EPOCHS)
    assert [(one.epoch, one.metrics, one.rr) for one in kept] == [(one.epoch, one.metrics, one.rr) for one in told]
    assert [one.epoch for one in kept] == [1, 2, 3]
    assert [one.metrics.mrr for one in kept] == [event.valid_mrr for event in told]
    assert result.valid is not None and kept[result.best_epoch - 1].metrics == result.valid.all
    for one in kept:
        assert len(one.rr) == 10 and sum(one.rr) / 10 == pytest.approx(one.metrics.mrr, abs=1e-5)


def test_a_stored_grade_is_not_trained_again(source: Path, tmp_path: Path) -> None:
    chain = teacher(source, tmp_path, optimiser__epochs=1)
    first, events = chain.train(), list[Event]()
    assert chain.train(listen=events.append) == first
    assert [(type(event), event.reused) for event in events if isinstance(event, GradeDone)] == [(GradeDone, True)]
    assert len(events) == 1
    other = replace(chain, stages=[replace(chain.stages[0], key="another configuration")])
    assert other.train().key == "another configuration"


def test_the_mask_rate_is_a_setting(source: Path, tmp_path: Path) -> None:
    """2.6: in the released code it is a constant edited by hand, whose trace is the name of a folder."""
    chain = tiny_chain.tiny(source, tmp_path, layers=(1, 1), mask_rates=[0.3], optimiser__epochs=1)
    assert chain.train(0).mask_rate == 0.0
    assert chain.train(1).mask_rate == 0.3
    assert "rate: 0.3" in (chain.stages[1].out / "grade.yaml").read_text()
    rates = tiny_chain.config(source, layers=(3, 3, 2, 1), mask_rates=[0.2, 0.1, 0.0]).grades
    assert [grade.mask.rate for grade in rates] == [0.0, 0.2, 0.1, 0.0]


FULL = os.strerror(errno.ENOSPC)
REFUSALS: dict[str, tuple[Any, str, int, Exception]] = {
    # What writes, at which call, and what it says: each epoch writes its best file, weights and optimiser.
    "best file": (safetensors.torch, "save_file", 3, SafetensorError(f"I/O error: {FULL} (os error 28)")),
    "checkpoint's weights": (safetensors.torch, "save_file", 4, SafetensorError(f"I/O error: {FULL} (os error 28)")),
    "checkpoint's optimiser": (torch, "save", 2, RuntimeError("PytorchStreamWriter failed writing file data/7")),
    "model": (stage_module, "save_model", 1, OSError(errno.ENOSPC, FULL)),
    "ranks": (stage_module, "write_ranks", 2, StorageError(f"ranks could not be written: {FULL}")),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_full_disk(
    source: Path, tmp_path: Path, last_epoch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """One clear error, nothing half-written, and the next call goes on (weights as if nothing had been)."""
    chain = teacher(source, tmp_path)
    stage = chain.stages[0]
    # Rising figures: every epoch is the best, the same in every case.
    rising = iter(range(1, 100))
    monkeypatch.setattr(Ranked, "mrr", lambda ranked: next(rising))
    module, name, at, error = REFUSALS[what]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, _failing(getattr(module, name), at, error))
        with pytest.raises(StorageError, match=r"could not be written: .* free some space"):
            chain.train()
    assert not stage.out.exists()
    left = {place.name for place in tmp_path.rglob("*") if "aside" in place.name or place.name.endswith(".old")}
    assert left == set()
    assert read_progress(stage.work, stage.key) is not None
    assert chain.train().best_epoch == 3
    assert_equal(weights_of(chain), last_epoch)
    assert not stage.work.exists()


def _failing(real: Callable[..., Any], at: int, error: Exception) -> Callable[..., Any]:
    count = 0

    def failing(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            raise error
        return real(*args, **options)

    return failing


def test_the_card_tells_the_temperature_exactly(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    chain = teacher(source, tmp_path, optimiser__epochs=1)
    chain.train()
    assert_equal(weights_of(chain), spy.weights[-1])
