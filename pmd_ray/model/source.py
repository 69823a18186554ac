"""Pretrained encoders by name: a model of the Hub or a folder, the `minilm` package, or a small one from scratch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pmd_ray.model.encoder_files import encoder_facts, minilm_folder
from pmd_ray.model.wordpiece import SPECIAL, WordPieces, train_wordpieces
from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.errors import EncoderError
from pmd_ray.spec.streams import stream_key


@dataclass(frozen=True)
class Source:
    """What a tower is built from: a configuration, weights without poolers, a tokenizer."""

    name: str
    config: Any
    weights: dict[str, Tensor]
    wordpieces: WordPieces
    fingerprint: str
    """As `encoder_files` makes it."""

    @property
    def layers(self) -> int:
        """Transformer layers."""
        return int(self.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Hidden size."""
        return int(self.config.hidden_size)


def load_source(config: EncoderConfig, texts: Iterable[str] = (), *, seed: int = 0) -> Source:
    """Load an encoder.

    Args:
        config: Its name, and the sizes of one from scratch.
        texts: The graph's texts; read only for `scratch`, whose vocabulary they make.
        seed: Of the weights from scratch.

    Raises:
        EncoderError: it is not there, not BERT-like, or has no WordPiece vocabulary.
    """
    match config.name:
        case "scratch":
            return _from_scratch(config, texts, seed)
        case "minilm":
            return _from_folder_or_hub(config, str(minilm_folder()))
        case name:
            return _from_folder_or_hub(config, name)


def _from_folder_or_hub(encoder: EncoderConfig, name: str) -> Source:
    # A folder is never looked up on the Hub, and what is on disk needs no network.
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    shown, local = encoder.name, Path(name).is_dir()
    try:
        config = AutoConfig.from_pretrained(name, local_files_only=local)
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
        model = AutoModel.from_pretrained(name, local_files_only=local).float()
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise EncoderError(
            f"encoder '{shown}' cannot be loaded{offline}: {reason}\n"
            "  Give a folder that holds it, connect to the network once, or use encoder.name minilm or scratch."
        ) from None
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("pooler.")}
    _check_bert_like(shown, config, weights)
    wordpieces = WordPieces.of_transformers(tokenizer, shown)
    _check_vocabulary(shown, wordpieces, rows=len(weights["embeddings.word_embeddings.weight"]))
    return Source(shown, config, weights, wordpieces, _fingerprint(encoder))


def _check_bert_like(name: str, config: Any, weights: dict[str, Tensor]) -> None:
    if (
        not any(key.startswith("encoder.layer.0.") for key in weights)
        or "embeddings.word_embeddings.weight" not in weights
    ):
        raise EncoderError(
            f"encoder '{name}' is of type '{config.model_type}'; its layers are not laid out as BERT's "
            "(embeddings, encoder.layer.N). Use a BERT-like model such as bert-base-uncased."
        )


def _check_vocabulary(name: str, wordpieces: WordPieces, *, rows: int) -> None:
    """Without its files, transformers 5 makes a tokenizer of special tokens alone, to which every word is unknown."""
    if wordpieces.size > rows:
        raise EncoderError(f"encoder '{name}' has {rows} word vectors for a vocabulary of {wordpieces.size} tokens")
    if wordpieces.size <= len(SPECIAL):
        raise EncoderError(
            f"encoder '{name}' has no vocabulary; its tokenizer.json or vocab.txt is missing: download it whole again"
        )


def _from_scratch(config: EncoderConfig, texts: Iterable[str], seed: int) -> Source:
    from transformers import BertConfig

    texts = list(texts)
    wordpieces = train_wordpieces(texts, config.scratch.vocabulary)
    sizes = config.scratch
    bert = BertConfig(
        vocab_size=wordpieces.size,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.width,
        pad_token_id=wordpieces.pad,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(seed, "scratch"))
        weights = build_tower(bert).state_dict()
    return Source("scratch", bert, dict(weights), wordpieces, _fingerprint(config, texts, seed))


def _fingerprint(config: EncoderConfig, texts: Sequence[str] = (), seed: int = 0) -> str:
    facts = encoder_facts(config, lambda: texts, seed=seed)
    if facts is None:
        raise EncoderError(f"encoder '{config.name}' was loaded, but its files are not in the Hugging Face cache")
    return facts.fingerprint


def build_tower(config: Any) -> nn.Module:
    """An encoder of that configuration without a pooler, randomly initialised."""
    from transformers import AutoModel

    try:
        tower: nn.Module = AutoModel.from_config(config, add_pooling_layer=False, attn_implementation="sdpa")
    except TypeError:  # Some BERT-like classes have no pooler to leave out.
        tower = AutoModel.from_config(config, attn_implementation="sdpa")
    return tower


def layer_keys(weights: dict[str, Tensor], layer: int) -> Sequence[str]:
    """The names of one layer's weights."""
    return [key for key in weights if key.startswith(f"encoder.layer.{layer}.")]
