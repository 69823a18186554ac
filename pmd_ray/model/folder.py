"""A trained model's folder: two Hugging Face encoders with safetensors, a tokenizer, and `pmd.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.source import build_tower
from pmd_ray.model.wordpiece import WordPieces
from pmd_ray.spec.base import Frozen
from pmd_ray.spec.dataset import TextConfig
from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.errors import ModelError

CARD = "pmd.json"
FORMAT = 1
TOWER_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


class ModelCard(Frozen):
    """What a model's weights do not say."""

    format: int = FORMAT
    grade: str
    stage_key: str
    layers: int
    text: TextConfig
    encoder: EncoderConfig
    temperature: float
    """t at the end of training."""
    self_negatives: bool
    dataset: str
    dataset_source: str
    """Name or folder that it was trained on."""
    dataset_fingerprint: str
    training: dict[str, Any] = Field(default_factory=dict)
    """Mask rate, teacher, validation MRR: for the reader, not for loading."""


@dataclass(frozen=True)
class TrainedModel:
    """A model in evaluation mode with what is needed to feed it."""

    model: BiEncoder
    wordpieces: WordPieces
    card: ModelCard


def save_model(folder: Path, model: BiEncoder, wordpieces: WordPieces, card: ModelCard) -> None:
    """Write the folder's files; the caller makes the step atomic."""
    from safetensors.torch import save_file

    for role, tower in model.towers.items():
        place = folder / role
        place.mkdir(parents=True, exist_ok=True)
        weights = {key: value.detach().cpu().contiguous() for key, value in tower.state_dict().items()}
        save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
        tower.config.save_pretrained(place)  # type: ignore[union-attr, operator]
        wordpieces.save(place)
    (folder / CARD).write_text(card.model_dump_json(indent=2), encoding="utf-8")


def load_trained(folder: Path, *, device: torch.device | str = "cpu") -> TrainedModel:
    """Load a folder written by `save_model`.

    Raises:
        ModelError: it is none, or a file of it is missing or broken.
    """
    card = _checked_card(folder)
    roles = ("hr", "tail") if card.encoder.towers == "separate" else ("hr",)
    missing = [f"{role}/{name}" for role in roles for name in TOWER_FILES if not (folder / role / name).is_file()]
    if missing:
        raise _not_whole(folder, missing[0])
    try:
        towers = [_load_tower(folder / role) for role in roles]
        wordpieces = WordPieces.load(folder / "hr")
    except Exception as error:  # tokenizers raises bare Exceptions; whatever it is, the folder is broken
        raise ModelError(f"'{folder}' cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    model = BiEncoder(towers[0], towers[-1], pooling=card.encoder.pooling, temperature=card.temperature, learnt=False)
    return TrainedModel(model.to(device).eval(), wordpieces, card)


def _checked_card(folder: Path) -> ModelCard:
    try:
        given = read_card(folder)
        if given.get("format") != FORMAT:
            raise ModelError(
                f"'{folder}' is of format {given.get('format')}; this version reads format {FORMAT}: load it with the "
                "pmd_ray that wrote it, or train it again"
            )
        return ModelCard.model_validate(given)
    except FileNotFoundError:
        raise _not_whole(folder, CARD) from None
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"'{folder}' cannot be loaded: {CARD}: {' '.join(str(error).split())[:300]}") from None


def _not_whole(folder: Path, missing: str) -> ModelError:
    return ModelError(
        f"'{folder}' holds no whole model: {missing} is missing; give a grade's `model` folder, or the folder of its "
        "run and grade, such as runs/demo/4/model"
    )


def _load_tower(folder: Path) -> torch.nn.Module:
    from safetensors.torch import load_file
    from transformers import AutoConfig

    with torch.random.fork_rng(devices=[]):
        tower = build_tower(AutoConfig.from_pretrained(folder, local_files_only=True))
    tower.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return tower


def read_card(folder: Path) -> dict[str, Any]:
    """The card as plain JSON, whatever its version."""
    card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    return card
