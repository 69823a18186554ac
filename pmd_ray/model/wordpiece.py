"""WordPiece tokenizers: Hugging Face's, or one trained on a graph's own texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pmd_ray.spec.errors import EncoderError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordPieces:
    """Token ids of texts, and the ids of special tokens. Wraps a fast tokenizer of Hugging Face `tokenizers`."""

    def __init__(self, backend: Any, files: dict[str, str]) -> None:
        self._backend = backend
        self._files = files
        vocabulary = backend.get_vocab(with_added_tokens=True)
        self.size = max(vocabulary.values()) + 1
        self.pad, self.unknown, self.cls, self.sep, self.mask = (vocabulary[token] for token in SPECIAL)
        backend.no_padding()
        backend.no_truncation()
        self.fingerprint = hashlib.sha256(backend.to_str().encode()).hexdigest()

    @classmethod
    def of_transformers(cls, tokenizer: Any, name: str) -> WordPieces:
        """From a transformers tokenizer.

        Raises:
            EncoderError: it is not a fast WordPiece tokenizer with BERT's special tokens.
        """
        from tokenizers import Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        kind, vocabulary = None, {}
        if backend is not None:
            kind = json.loads(backend.to_str())["model"].get("type")
            vocabulary = backend.get_vocab(with_added_tokens=True)
        missing = [token for token in SPECIAL if token not in vocabulary]
        if backend is None or kind != "WordPiece" or missing:
            raise EncoderError(
                f"encoder '{name}' has a {kind or 'slow'} tokenizer without {', '.join(missing) or 'WordPiece'}; texts "
                "are joined from pieces, which needs BERT's WordPiece. Use a BERT-like model such as bert-base-uncased."
            )
        return cls(Tokenizer.from_str(backend.to_str()), _config_of(tokenizer))

    @classmethod
    def load(cls, folder: Path) -> WordPieces:
        """From a folder written by `save`."""
        from tokenizers import Tokenizer

        files = {"tokenizer_config.json": (folder / "tokenizer_config.json").read_text(encoding="utf-8")}
        return cls(Tokenizer.from_file(str(folder / "tokenizer.json")), files)

    def save(self, folder: Path) -> None:
        """Write the files that `transformers.AutoTokenizer` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self._backend.to_str(pretty=True), encoding="utf-8")
        for name, text in self._files.items():
            (folder / name).write_text(text, encoding="utf-8")

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens and without cutting."""
        return [row.ids for row in self._backend.encode_batch(list(texts), add_special_tokens=False)]


def _config_of(tokenizer: Any) -> dict[str, str]:
    lower = bool(getattr(tokenizer, "do_lower_case", True))
    return {"tokenizer_config.json": tokenizer_config(lower=lower)}


def tokenizer_config(*, lower: bool) -> str:
    """The `tokenizer_config.json` of a BERT tokenizer."""
    tokens = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower, "model_max_length": 512, **tokens}
    return json.dumps(config, indent=2, sort_keys=True)


def train_wordpieces(texts: Iterable[str], size: int) -> WordPieces:
    """Train a lower-casing WordPiece vocabulary of at most `size` on texts; equal texts give an equal vocabulary."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    texts = sorted(set(texts))
    words = (word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    # The trainer numbers `##a` in the order of a hash map that is seeded anew in every process, and breaks ties between
    # merges by these numbers. Named beforehand, they are numbered alike everywhere.
    inner = sorted({f"##{letter}" for word in words for letter in word[1:]})
    draft = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    draft.normalizer, draft.pre_tokenizer = normalizer, splitter
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=[*SPECIAL, *inner], show_progress=False)
    draft.train_from_iterator(texts, trainer=trainer)

    backend = Tokenizer(models.WordPiece(draft.get_vocab(), unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer, backend.decoder = normalizer, splitter, decoders.WordPiece()
    backend.add_special_tokens(list(SPECIAL))
    pair = [("[CLS]", backend.token_to_id("[CLS]")), ("[SEP]", backend.token_to_id("[SEP]"))]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=pair
    )
    return WordPieces(backend, {"tokenizer_config.json": tokenizer_config(lower=True)})
