"""A run killed with SIGKILL at any moment and started again ends with bitwise the same student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import tiny_chain
from reference.tiny_chain import Moment
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pmd_ray.spec.results import GradeResult
from pmd_ray.train.checkpoint import read_progress
from pmd_ray.train.epochs_file import EPOCHS
from pmd_ray.train.ranks_file import read_ranks
from pmd_ray.train.stage import Stage, stored_result

pytestmark = pytest.mark.whole

STEPS = 4
"""Updates of an epoch: 128 queries by 32."""


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A student with dropout, masks and earlier tails under a trained teacher."""
    folder = tmp_path_factory.mktemp("resume")
    # An untrained temperature and a fast optimiser: every weight moves, and the best epoch is not always the last.
    settings: dict[str, Any] = {"layers": (2, 1), "dataset__text__max_tokens": 20, "encoder__dropout": 0.1}
    chain = tiny_chain.tiny(tiny_chain.written_graph(folder), folder / "run", loss__ce__pre_batch=1, **settings)
    chain.train(0)
    return chain.stages[1]


@pytest.fixture(scope="module")
def whole(student: Stage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, dict[str, Any]]:
    """The same student, never interrupted."""
    return trained(student, tmp_path_factory.mktemp("whole"))


def at(student: Stage, folder: Path) -> Stage:
    return replace(student, out=folder / "grade", curves=folder / "curves")


def trained(student: Stage, folder: Path) -> tuple[Stage, dict[str, Any]]:
    stage = at(student, folder)
    return stage, tiny_chain.train_to_the_end(stage, folder)


def published(stage: Stage) -> GradeResult:
    result = stored_result(stage.out, stage.key)
    assert result is not None
    return result.model_copy(update={"seconds": 0.0, "cpu_seconds": 0.0})


def assert_same(one: Stage, other: Stage) -> None:
    for tower in ("hr", "tail"):
        first, second = (load_file(stage.out / "model" / tower / "model.safetensors") for stage in (one, other))
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    graph = tiny_chain.graph()
    for split in ("valid", "test"):
        ranks = [
            read_ranks(
                stage.out / f"{split}_ranks.parquet", entity_ids=graph.entity_ids, relation_ids=graph.relation_ids
            )
            for stage in (one, other)
        ]
        for name in ("queries", "ranks", "scores", "top_ids", "top_scores"):
            assert np.array_equal(getattr(ranks[0], name), getattr(ranks[1], name)), name
    assert published(one) == published(other)
    assert (one.out / EPOCHS).read_bytes() == (other.out / EPOCHS).read_bytes()


@pytest.mark.parametrize(
    ("moment", "kept"),
    [(Moment("step", STEPS + 2), 1), (Moment("rename", 2), 1), (Moment("best", 1), 0), (Moment("step", 1), 0)],
    ids=["in epoch 2 of 3", "before the checkpoint's rename", "between best file and checkpoint", "in epoch 1"],
)
def test_killed_and_started_again(
    student: Stage, whole: tuple[Stage, dict[str, Any]], tmp_path: Path, moment: Moment, kept: int
) -> None:
    stage = at(student, tmp_path)
    tiny_chain.train_and_kill(stage, tmp_path, moment)
    progress = read_progress(stage.work, stage.key)
    assert (progress.epoch if progress else 0) == kept
    assert not stage.out.exists()
    history = tiny_chain.train_to_the_end(stage, tmp_path)
    assert_same(stage, whole[0])
    assert history["progress"]["valid_mrr"] == whole[1]["progress"]["valid_mrr"]
    assert history["told"] == whole[1]["told"][kept:]  # what was done is not done again
    assert {place.name for place in tmp_path.iterdir() if place.name.startswith(".")} == set()
    assert_one_curve(stage)


@pytest.mark.parametrize(
    ("leaving", "killed"), [(1, 2), (STEPS + 2, STEPS + 4), (2 * STEPS, 2 * STEPS + 1), (STEPS - 1, STEPS + 1)]
)
def test_a_machine_that_goes_costs_no_epoch(
    student: Stage, whole: tuple[Stage, dict[str, Any]], tmp_path: Path, leaving: int, killed: int
) -> None:
    """Told of it within an epoch, the training keeps what it has; the next one goes on from that very step."""
    stage = at(student, tmp_path)
    tiny_chain.train_and_kill(stage, tmp_path, Moment("step", killed, leaving=leaving))
    progress = read_progress(stage.work, stage.key)
    kept = max(leaving, (killed - 1) // STEPS * STEPS)
    assert progress is not None and (progress.steps, progress.epoch) == (kept, kept // STEPS)
    tiny_chain.train_to_the_end(stage, tmp_path)
    assert_same(stage, whole[0])
    assert_one_curve(stage)


def assert_one_curve(stage: Stage) -> None:
    """A killed attempt's points are replaced, those of kept epochs stay."""
    events = EventAccumulator(str(stage.curves)).Reload()
    assert [point.step for point in events.Scalars("loss/total")] == list(range(1, 3 * STEPS + 1))
    assert [point.step for point in events.Scalars("valid/mrr")] == [STEPS, 2 * STEPS, 3 * STEPS]


def test_a_checkpoint_of_another_key_is_not_resumed(
    student: Stage, whole: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    """Its folder may lie there: the same grade with another setting was stopped."""
    other = replace(at(student, tmp_path), key="another")
    tiny_chain.train_and_kill(other, tmp_path, Moment("step", 2 * STEPS + 1))
    progress = read_progress(other.work, "another")
    assert progress is not None and progress.epoch == 2
    stage, history = trained(student, tmp_path)
    assert len(history["told"]) == 3
    assert_same(stage, whole[0])
