"""A teacher that sees clean text is a constant: what is looked up is what it would say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reference import tiny_chain

from pmd_ray.train.estimate import encoded_once
from pmd_ray.train.events import silent
from pmd_ray.train.stage import _Training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    tiny_chain.tiny(tiny_chain.written_graph(folder), folder / "run", optimiser__epochs=1).train(0)
    return folder


def training(folder: Path, **settings: Any) -> _Training:
    chain = tiny_chain.tiny(folder / "tiny", folder / "run", **settings)
    return _Training(chain.stages[1], chain.shop, tiny_chain.ALONE, silent)


SEQUENCE: dict[str, Any] = {"loss__feature__feature": "sequence"}


@pytest.mark.parametrize(
    ("settings", "constant"),
    [
        ({}, False),
        ({"mask_rates": [0.0]}, True),  # a feature loss that looks at masked tokens looks at none
        ({"mask_rates": [0.0], "loss__feature__when_unmasked": "random"}, False),
        ({"mask_rates": [0.0], "loss__beta": 0.0, "loss__feature__when_unmasked": "random"}, True),
        ({"mask__teacher_input": "clean"}, False),  # it is asked for states of tokens that change each step
        ({"mask__teacher_input": "clean", "loss__beta": 0.0}, True),
        ({"mask__teacher_input": "clean", **SEQUENCE}, True),
        ({"mask__teacher_input": "own", "loss__beta": 0.0}, False),
        ({"mask__for_score": "clean", "loss__beta": 0.0}, True),
        ({"mask__for_score": "clean", **SEQUENCE}, False),  # the feature loss sees masked text
        ({"mask_rates": [0.0], "loss__alpha": 0.0, "loss__beta": 0.0}, False),  # nobody asks it anything
    ],
)
def test_which_teachers_are_constant(folder: Path, settings: dict[str, Any], constant: bool) -> None:
    found = training(folder, **settings)
    assert found.teacher is not None and found.teacher.is_constant() is constant
    # The estimate of a chain's hours counts the same: a teacher that is asked nothing costs nothing.
    idle = not (found.grade.loss.alpha or found.grade.loss.beta)
    assert encoded_once(found.stage, found.shop, teacher_layers=3) is (constant or idle)


@pytest.mark.parametrize(
    "settings",
    [
        {"mask_rates": [0.0]},
        {"mask_rates": [0.0], "loss__ce__self_negatives": True, "preset": "pmd_code"},
        {"mask__teacher_input": "clean", "loss__beta": 0.0},
        {"mask__teacher_input": "clean", **SEQUENCE},
        {"mask__for_score": "clean", "loss__beta": 0.0},
    ],
    ids=["mask 0", "mask 0 with heads", "clean input", "sequence vectors", "clean scores"],
)
def test_looked_up_is_what_it_would_say(folder: Path, settings: dict[str, Any]) -> None:
    """C17: the released code encodes the same clean texts again in every epoch."""
    few: dict[str, Any] = {"encoder__dropout": 0.0, "dataset__text__max_tokens": 20, **settings}
    live, table = (training(folder, **few) for _ in range(2))
    assert table.teacher is not None
    told: list[tuple[int, int]] = []
    table.teacher.tabulate(table.batches, tiny_chain.ALONE, lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == sum(len(found.keys) for found in table.teacher._tables.values())
    # From here on nobody may run it.
    table.teacher.model.hr = table.teacher.model.tail = torch.nn.Identity()
    for number, (epoch, step) in enumerate([(0, 0), (0, 2), (1, 1)]):
        one, other = (
            found.step.run(found.batches.make(epoch, step), epoch=epoch, step=step, done=number, detailed=True)
            for found in (live, table)
        )
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.parts == pytest.approx(one.parts, rel=1e-4, abs=1e-9)
        assert other.gradient == pytest.approx(one.gradient, rel=1e-3)


def test_clean_scores_are_looked_up_beside_masked_features(folder: Path) -> None:
    """The teacher runs on masked text alone; so it did on clean text too, every epoch."""
    few: dict[str, Any] = {"encoder__dropout": 0.0, "dataset__text__max_tokens": 20, "mask__for_score": "clean"}
    live, table = (training(folder, **few) for _ in range(2))
    assert table.teacher is not None and not table.teacher.is_constant()
    assert table.teacher.saves_by_table(table.batches, 10**6)
    table.teacher.tabulate(table.batches, tiny_chain.ALONE, lambda done, total: None)
    batch = table.batches.make(0, 0)
    assert table.teacher.packed(batch, "clean", with_states=False) is None
    assert table.teacher.packed(batch, "masked", with_states=True) is not None
    for number in range(2):
        one, other = (
            found.step.run(found.batches.make(0, number), epoch=0, step=number, done=number, detailed=True)
            for found in (live, table)
        )
        assert one.parts["score"] > 0 and one.parts["feature"] > 0
        assert other.parts == pytest.approx(one.parts, rel=1e-4, abs=1e-9)


def test_clean_states_need_a_pass_of_their_own(folder: Path) -> None:
    """Vectors come with it: a table would save nothing."""
    found = training(folder, mask__teacher_input="clean")
    assert found.teacher is not None and not found.teacher.saves_by_table(found.batches, 10**6)


def test_a_few_steps_need_no_table(folder: Path) -> None:
    """Fewer texts are seen than there are: they are encoded as they come, whatever of the training is done already."""
    found = training(folder, mask_rates=[0.0])
    assert found.teacher is not None
    distinct = sum(map(len, found.teacher._distinct(found.batches).values()))
    enough = -(-distinct // (2 * found.batches.batch))
    assert found.teacher.saves_by_table(found.batches, enough)
    assert not found.teacher.saves_by_table(found.batches, enough - 1)
    live = training(folder)
    assert live.teacher is not None and not live.teacher.saves_by_table(live.batches, 10**6)


@pytest.mark.parametrize(("steps", "tabulated"), [(1, False), (None, True)])
def test_a_training_tabulates_where_that_saves(
    folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int | None, tabulated: bool
) -> None:
    few: dict[str, Any] = {} if steps is None else {"optimiser__steps_per_epoch": steps, "optimiser__epochs": 1}
    found = training(folder, mask_rates=[0.0], **few)
    assert found.teacher is not None
    called: list[int] = []
    monkeypatch.setattr(found.teacher, "tabulate", lambda *given: called.append(1))
    monkeypatch.setattr(found, "_epoch", lambda epoch, curves: None)
    found.run(lambda progress: None)
    assert bool(called) is tabulated


def test_it_is_frozen_and_without_dropout(folder: Path) -> None:
    """2.5, C17: eval mode, no gradient, no graph; another depth and width than the student's are no obstacle (C11)."""
    found = training(folder, encoder__dropout=0.5, init__width=16)
    teacher = found.teacher
    assert teacher is not None and not any(module.training for module in teacher.model.modules())
    assert (teacher.model.layers, teacher.model.width) == (3, 32) != (found.model.layers, found.model.width) == (2, 16)
    before = {name: weight.clone() for name, weight in teacher.model.state_dict().items()}
    batch = found.batches.make(0, 0)
    packed = teacher.packed(batch, "masked", with_states=True)
    first, again = (teacher.outputs(batch, packed, with_states=True) for _ in range(2))
    assert torch.equal(first.hr.pooled_UD, again.hr.pooled_UD) and not first.hr.pooled_UD.requires_grad
    assert first.tail.watched_KUD is not None and not first.tail.watched_KUD.requires_grad
    for step in range(2):
        log = found.step.run(found.batches.make(0, step), epoch=0, step=step, done=2 + step, detailed=False)
        assert log.parts["feature"] > 0 and log.parts["score"] > 0
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.model.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.model.state_dict().items())
    assert found.model.training
