"""KG-BERT's layout: train.tsv, dev.tsv, test.tsv, relation2text.txt, entity2text.txt and perhaps entity2textlong.txt.

The short text is the name, the long one the description. (KG-BERT's WN18RR has `lemma, gloss` as its short text, which
cannot be cut apart where a lemma holds a comma; the simkgc layout has the two apart.)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pmd_ray.kg.check import TRIPLE_COLUMNS, Tables
from pmd_ray.kg.graph import Split
from pmd_ray.kg.read import Table, read_table

FILES: dict[Split, str] = {"train": "train.tsv", "valid": "dev.tsv", "test": "test.tsv"}
LONG_TEXT = "entity2textlong.txt"


def read(folder: Path) -> Tables:
    """Read `folder`."""
    return Tables(
        entities=_entities(folder),
        relations=read_table(folder, "relation2text.txt", header=("id", "text"), foreign=True),
        splits={split: read_table(folder, file, header=TRIPLE_COLUMNS, foreign=True) for split, file in FILES.items()},
    )


def _entities(folder: Path) -> Table:
    short = read_table(folder, "entity2text.txt", header=("id", "text"), foreign=True)
    ids, names = short.columns
    if not (folder / LONG_TEXT).exists():
        return replace(short, columns=(ids, names, ("",) * len(ids)))
    long = read_table(folder, LONG_TEXT, header=("id", "text"), foreign=True)
    description = dict(zip(*long.columns, strict=True))
    descriptions = tuple(description.get(identity, "") for identity in ids)
    return replace(short, columns=(ids, names, descriptions), problems=(*short.problems, *long.problems))
