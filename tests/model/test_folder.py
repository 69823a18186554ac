"""A trained model's folder: bitwise round trip, readable by plain transformers, and a clear error for anything else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import small
from torch.nn.functional import normalize

from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.encode import encode, pack
from pmd_ray.model.folder import CARD, ModelCard, load_trained, read_card, save_model
from pmd_ray.spec.dataset import TextConfig
from pmd_ray.spec.errors import ModelError


def saved(folder: Path, **encoder: Any) -> BiEncoder:
    config = small.encoder_config(**encoder)
    model = small.model_of(small.student_grade(), encoder=config, seed=1).float().eval()
    card = ModelCard(
        grade="2",
        stage_key="k" * 64,
        layers=2,
        text=TextConfig(),
        encoder=config,
        temperature=math.exp(-model.log_inverse_t.item()),
        self_negatives=False,
        dataset="dense",
        dataset_source="dense",
        dataset_fingerprint="f",
    )
    save_model(folder, model, small.small_source().wordpieces, card)
    return model


@pytest.mark.parametrize("towers", ["separate", "shared"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_round_trip_is_bitwise(tmp_path: Path, towers: str, pooling: str) -> None:
    model = saved(tmp_path, towers=towers, pooling=pooling)
    loaded = load_trained(tmp_path)
    assert loaded.model.shared == model.shared == (not (tmp_path / "tail").exists())
    assert loaded.model.pooling == pooling and not loaded.model.training
    assert loaded.wordpieces.fingerprint == small.small_source().wordpieces.fingerprint
    ours, theirs = model.state_dict(), loaded.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert not loaded.model.log_inverse_t.requires_grad
    rows = small.texts_of(small.dense_graph()).query_rows(np.arange(6), np.arange(6))
    before, after = (encode(each.hr, pack(rows), pooling=each.pooling).pooled_UD for each in (model, loaded.model))
    assert torch.equal(before, after)


def test_plain_transformers_read_both_towers(tmp_path: Path) -> None:
    """A text typed by hand gives the vector that the bi-encoder gives its tokens."""
    from transformers import AutoModel, AutoTokenizer

    model = saved(tmp_path)
    texts = small.texts_of(small.dense_graph())
    everyone = np.arange(texts.graph.num_entities)
    relations = everyone % 6
    for role, rows in (("hr", texts.query_rows(everyone, relations)), ("tail", texts.entity_rows(everyone))):
        ours = encode(getattr(model, role), pack(rows), pooling="mean").pooled_UD
        tower = AutoModel.from_pretrained(tmp_path / role).eval()
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / role)
        strings = [texts.entity_string(int(entity)) for entity in everyone]
        second = [texts.relation_string(int(relation)) for relation in relations] if role == "hr" else None
        batch = tokenizer(strings, second, padding=True, truncation="longest_first", max_length=50, return_tensors="pt")
        with torch.no_grad():
            states = tower(**batch).last_hidden_state
        weight = batch["attention_mask"][:, :, None].float()
        theirs = normalize((states * weight).sum(1) / weight.sum(1), dim=-1)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_no_pickles(tmp_path: Path) -> None:
    saved(tmp_path)
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}


@pytest.mark.parametrize(
    "missing", [CARD, "hr/model.safetensors", "tail/model.safetensors", "tail/config.json", "hr/tokenizer.json"]
)
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    saved(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ModelError, match=f"holds no whole model: {missing} is missing"):
        load_trained(tmp_path)


@pytest.mark.parametrize("broken", [CARD, "hr/model.safetensors", "tail/config.json", "hr/tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00broken", b"[]"])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, broken: str, content: bytes) -> None:
    saved(tmp_path)
    (tmp_path / broken).write_bytes(content)
    with pytest.raises(ModelError, match=f"{tmp_path.name}.*cannot be loaded") as caught:
        load_trained(tmp_path)
    assert caught.value.exit_code == 2 and len(str(caught.value).splitlines()) == 1


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pmd.json is missing; give a grade's `model` folder"):
        load_trained(tmp_path / "nowhere")


@pytest.mark.parametrize("version", [0, 2, None, "x"])
def test_another_format_is_said_to_be_one(tmp_path: Path, version: Any) -> None:
    saved(tmp_path)
    card = {**read_card(tmp_path), "format": version, "later": "field"}
    (tmp_path / CARD).write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match=f"of format {version}; this version reads format 1"):
        load_trained(tmp_path)


def test_weights_of_another_size_do_not_load(tmp_path: Path) -> None:
    saved(tmp_path)
    config = json.loads((tmp_path / "hr" / "config.json").read_text())
    (tmp_path / "hr" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_trained(tmp_path)
