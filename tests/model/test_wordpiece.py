"""Vocabularies: the same in every process, kept by saving, read by plain transformers; others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reference import small

from pmd_ray.model.source import load_source
from pmd_ray.model.wordpiece import SPECIAL, WordPieces, train_wordpieces
from pmd_ray.spec.errors import EncoderError

SENTENCES = ["Amber lantern 7: inverse river", "Thunder, meadow (saffron) Überfluß", "granite granites"]


def test_scratch_weights_follow_the_seed() -> None:
    """That they are the same in every process, tests/cli/test_distill.py sees (C21: seeded everywhere)."""
    here = small.small_source(3)
    again = load_source(small.encoder_config(), small.words_of(small.dense_graph()), seed=3)
    assert (again.wordpieces.fingerprint, again.fingerprint) == (here.wordpieces.fingerprint, here.fingerprint)
    assert small.small_source(4).wordpieces.fingerprint == here.wordpieces.fingerprint
    assert small.small_source(4).fingerprint != here.fingerprint


def test_vocabulary_is_trained_on_the_texts() -> None:
    graph = small.dense_graph()
    pieces = train_wordpieces(small.words_of(graph), 150)
    assert pieces.size <= 150
    assert [pieces.pad, pieces.unknown, pieces.cls, pieces.sep, pieces.mask] == list(range(len(SPECIAL)))
    tokens = pieces.tokenize(small.words_of(graph))
    assert not any(pieces.unknown in row for row in tokens)
    assert max(len(row) for row in pieces.tokenize(["inverse", "river"])) == 1, "frequent words are whole"
    assert pieces.tokenize(["RIVER"]) == pieces.tokenize(["river"])
    assert train_wordpieces(reversed(small.words_of(graph)), 150).fingerprint == pieces.fingerprint


def test_text_of_a_graph_makes_no_special_token_of_letters() -> None:
    """`##a` is a piece of the vocabulary, never a token that text can spell."""
    pieces = train_wordpieces(["a##b river banks", "banana"], 100)
    assert pieces.tokenize(["##b"]) == [
        [*pieces.tokenize(["#"])[0], *pieces.tokenize(["#"])[0], *pieces.tokenize(["b"])[0]]
    ]


def test_saved_vocabulary_is_read_back_and_by_transformers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    pieces = small.small_source().wordpieces
    pieces.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    again = WordPieces.load(tmp_path)
    assert again.fingerprint == pieces.fingerprint and again.size == pieces.size
    plain = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    for sentence, ids in zip(SENTENCES, pieces.tokenize(SENTENCES), strict=True):
        assert again.tokenize([sentence]) == [ids]
        assert plain(sentence, add_special_tokens=False)["input_ids"] == ids
    pair = plain("river stone", "inverse amber")
    middle = len(pieces.tokenize(["river stone"])[0])
    assert pair["input_ids"][0] == pieces.cls and pair["input_ids"][middle + 1] == pair["input_ids"][-1] == pieces.sep
    assert pair["token_type_ids"] == [0] * (middle + 2) + [1] * (len(pair["input_ids"]) - middle - 2)
    assert plain.mask_token_id == pieces.mask and plain.pad_token_id == pieces.pad
    assert WordPieces.of_transformers(plain, "again").tokenize(SENTENCES) == pieces.tokenize(SENTENCES)


def test_another_tokenizer_is_refused_by_name() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])))
    with pytest.raises(EncoderError, match=r"encoder 'my-gpt' has a BPE tokenizer.*bert-base-uncased"):
        WordPieces.of_transformers(other, "my-gpt")
    with pytest.raises(EncoderError, match="slow tokenizer"):
        WordPieces.of_transformers(object(), "odd")
