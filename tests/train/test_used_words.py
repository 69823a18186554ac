"""Words that no text has are left to their decay: the training is the one with the whole table in the optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import tiny_chain

from pmd_ray.model.bi_encoder import word_weights
from pmd_ray.model.folder import load_trained
from pmd_ray.train.batches import Batches
from pmd_ray.train.events import silent
from pmd_ray.train.stage import Stage, _Training, train_stage

pytestmark = pytest.mark.whole

CASES: dict[str, dict[str, Any]] = {
    "two towers": {},
    "one tower": {"encoder__towers": "shared"},
    "clipped, everything decays": {"optimiser__clip": 0.5, "optimiser__decay_everything": True},
    "gradient caching, hidden tokens": {"optimiser__micro_batch": 7, "mask__replace": "attention"},
    "neighbours alone": {"dataset__text__description": False, "dataset__text__neighbours": True},
    "any word of the vocabulary": {"mask__replace": "80_10_10"},
}
SETTINGS: dict[str, Any] = {
    "layers": (2, 1),
    "optimiser__weight_decay": 0.3,
    "optimiser__lr": 1e-2,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chain.written_graph(tmp_path_factory.mktemp("words"))


def student(source: Path, folder: Path, case: str) -> tuple[tiny_chain.Tiny, Stage]:
    chain = tiny_chain.tiny(source, folder, **{**SETTINGS, **CASES[case]})
    chain.train(0)
    return chain, chain.stages[1]


def weights(training: _Training) -> dict[str, torch.Tensor]:
    with training.words.whole(settle=True):
        return {name: value.clone() for name, value in training.model.state_dict().items()}


def trained(chain: tiny_chain.Tiny, stage: Stage) -> tuple[_Training, list[float]]:
    """Two epochs of steps, with a look at the model between them."""
    training = _Training(stage, chain.shop, tiny_chain.ALONE, silent)
    losses, done = [], 0
    for epoch in range(2):
        for number, batch in training.batches.epoch(epoch):
            log = training.step.run(batch, epoch=epoch, step=number, done=done, detailed=False)
            training.words.decayed(1.0 - log.learning_rate * stage.grade.optimiser.weight_decay)
            losses.append(log.loss)
            done += 1
        weights(training)
    return training, losses


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_same_training(source: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, stage = student(source, tmp_path, case)
    ours, our_losses = trained(chain, stage)
    monkeypatch.setattr(Batches, "words", lambda self: None)
    plain, plain_losses = trained(chain, stage)
    assert our_losses == pytest.approx(plain_losses, rel=1e-5)
    found, expected = weights(ours), weights(plain)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_the_optimiser_knows_used_words_alone(source: Path, tmp_path: Path) -> None:
    chain, stage = student(source, tmp_path, "two towers")
    training, _ = trained(chain, stage)
    used = training.batches.words()
    vocabulary = chain.shop.source.wordpieces.size
    assert used is not None and 10 < len(used) < vocabulary - 10
    tables = [word_weights(tower) for tower in training.model.towers.values()]
    assert [len(table) for table in tables] == [len(used)] * 2
    known = {id(weight): weight for group in training.optimiser.param_groups for weight in group["params"]}
    assert {id(weight) for weight in training.model.parameters() if weight.requires_grad} <= known.keys()
    assert (vocabulary, training.model.width) not in [tuple(weight.shape) for weight in known.values()]
    other = np.setdiff1d(np.arange(vocabulary), used)
    with training.words.whole(settle=True):
        before = chain.shop.source.weights["embeddings.word_embeddings.weight"][other]
        after = word_weights(training.model.hr).detach()[other]
    factor = float(after.norm() / before.norm())
    assert 0.5 < factor < 0.999
    torch.testing.assert_close(after, before * factor)  # decayed alike, and nothing else


@pytest.mark.parametrize("case", CASES)
def test_no_batch_has_another_word(source: Path, tmp_path: Path, case: str) -> None:
    chain = tiny_chain.tiny(source, tmp_path, **{**SETTINGS, **CASES[case], "layers": (2,)})
    training = _Training(chain.stages[0], chain.shop, tiny_chain.ALONE, silent)
    used = training.batches.words()
    assert used is not None
    for _, batch in training.batches.epoch(0):
        for side in (batch.hr, batch.tail):
            assert np.isin(side.student_ids.values, used).all() and np.isin(side.tokens.ids.values, used).all()


def test_the_trained_model_has_all_words(source: Path, tmp_path: Path) -> None:
    chain, stage = student(source, tmp_path, "two towers")
    result = train_stage(stage, chain.shop, workers=tiny_chain.ALONE)
    model = load_trained(stage.out / "model").model
    assert {len(word_weights(tower)) for tower in model.towers.values()} == {chain.shop.source.wordpieces.size}
    assert model.parameter_count() == result.parameters
