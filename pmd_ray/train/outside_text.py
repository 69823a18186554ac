"""Queries about entities that no graph holds, from their text."""

from __future__ import annotations

import numpy as np

from pmd_ray.kg.texts import Texts, joined_query
from pmd_ray.model.wordpiece import WordPieces
from pmd_ray.spec.ragged import TokenRows


def outside_query(texts: Texts, wordpieces: WordPieces, text: str, relation: int) -> TokenRows:
    """One query row `[CLS] text [SEP] relation [SEP]`; write the text as `name: description`."""
    first, second = wordpieces.tokenize([text, texts.relation_string(relation)])
    return joined_query(
        np.asarray(first, dtype=np.int32),
        np.asarray(second, dtype=np.int32),
        cls=wordpieces.cls,
        sep=wordpieces.sep,
        max_tokens=texts.config.max_tokens,
    )
