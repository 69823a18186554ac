"""SimKGC's layout: train.txt, valid.txt, test.txt with WordNet's definitions, or Freebase's names and descriptions.

Texts as intfloat/SimKGC makes them (preprocess.py, doc.py), but descriptions whole: the 50-word cut is a matter of the
tokens, and Freebase's are freed from their RDF quoting (SimKGC keeps `"` in front and `\\n` inside).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pmd_ray.kg.check import TRIPLE_COLUMNS, Tables
from pmd_ray.kg.graph import SPLITS, Split
from pmd_ray.kg.read import Table, read_table

WORDNET = "wordnet-mlj12-definitions.txt"
FREEBASE_NAMES = "FB15k_mid2name.txt"
FREEBASE_DESCRIPTIONS = "FB15k_mid2description.txt"


def read(folder: Path) -> Tables:
    """Read `folder`: WordNet where its definitions file is there, else Freebase."""
    splits = {split: read_table(folder, f"{split}.txt", header=TRIPLE_COLUMNS, foreign=True) for split in SPLITS}
    wordnet = (folder / WORDNET).exists() or not (folder / FREEBASE_NAMES).exists()
    relation_text: Callable[[str], str] = wordnet_relation if wordnet else freebase_relation
    entities = _wordnet_entities(folder) if wordnet else _freebase_entities(folder)
    return Tables(entities=entities, relations=_relations_in(splits, text=relation_text), splits=splits)


def wordnet_name(word: str) -> str:
    """`__hot_dog_NN_1` -> `hot dog`: the lemma, without part of speech and number of the sense."""
    return " ".join(word.replace("__", "").split("_")[:-2])


def wordnet_relation(relation: str) -> str:
    """`_member_meronym` -> `member meronym`."""
    return relation.replace("_", " ").strip()


def freebase_relation(relation: str) -> str:
    """`/music/artist/origin` -> `origin artist music`: leaf first, no part equal to one of the three before it."""
    kept: list[str] = []
    for part in relation.replace("./", "/").replace("_", " ").strip("/ ").split("/"):
        if part not in kept[-3:]:
            kept.append(part)
    return " ".join(reversed(kept))


def freebase_description(literal: str) -> str:
    r"""`"The \"Cubs\" ...\nThey ..."@en` -> its text on one line."""
    text = literal.removesuffix("@en")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    for escape in (r"\n", r"\t", r"\r"):
        text = text.replace(escape, " ")
    return text.replace(r"\"", '"').removesuffix("\\").strip()


def _wordnet_entities(folder: Path) -> Table:
    table = read_table(folder, WORDNET, header=("id", "word", "definition"), foreign=True)
    ids, words, definitions = table.columns
    return replace(table, columns=(ids, tuple(map(wordnet_name, words)), definitions))


def _freebase_entities(folder: Path) -> Table:
    names = read_table(folder, FREEBASE_NAMES, header=("id", "name"), foreign=True)
    described = read_table(folder, FREEBASE_DESCRIPTIONS, header=("id", "description"), foreign=True)
    description = dict(zip(*described.columns, strict=True))
    ids = names.columns[0]
    texts = tuple(freebase_description(description.get(identity, "")) for identity in ids)
    columns = (ids, tuple(name.replace("_", " ").strip() for name in names.columns[1]), texts)
    return replace(names, columns=columns, problems=(*names.problems, *described.problems))


def _relations_in(splits: Mapping[Split, Table], *, text: Callable[[str], str]) -> Table:
    """The relations of the triples, in order of appearance: this layout has no file of them."""
    ids = tuple(dict.fromkeys(relation for table in splits.values() for relation in table.columns[1]))
    columns = (ids, tuple(map(text, ids)))
    files = ", ".join(table.file for table in splits.values())
    return Table(file=files, columns=columns, lines=np.zeros(len(ids), dtype=np.int64), readable=False)
