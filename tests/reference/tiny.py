"""A graph of 40 entities in a folder, files over it, and a chain that trains in seconds: for whole commands."""

from __future__ import annotations

import random
from pathlib import Path

WORDS = ("river", "stone", "amber", "violet", "harbour", "lantern", "copper", "meadow", "willow", "thunder", "orchid")
ENTITIES = 40
CHAIN = """\
layers: [2, 2, 1]
dataset: {source: SOURCE}
encoder: {name: scratch, dropout: 0.0, scratch: {layers: 2, width: 32, heads: 4, vocabulary: 400}}
mask_rates: [0.2, 0.0]
optimiser: {epochs: 2, batch: 16, lr: 1.0e-3}
controls: true
"""


def write_graph(folder: Path) -> Path:
    """Numbers that follow each other or are twice each other; e00 and e11 share a name but for its case."""
    folder.mkdir(parents=True)
    names = [f"{WORDS[number % len(WORDS)]} {number}" for number in range(ENTITIES)]
    names[0], names[11] = "Twin", "twin"
    entities = "".join(
        f"e{i:02d}\t{name}\ta {WORDS[i * 3 % 11]} by the {WORDS[i * 5 % 11]}\n" for i, name in enumerate(names)
    )
    triples = [(i, "next", (i + 1) % ENTITIES) for i in range(ENTITIES)]
    triples += [(i, "double", 2 * i % ENTITIES) for i in range(1, ENTITIES) if 2 * i % ENTITIES != i]
    random.Random(0).shuffle(triples)
    lines = [f"e{head:02d}\t{relation}\te{tail:02d}\n" for head, relation, tail in triples]
    (folder / "entities.tsv").write_text(entities, encoding="utf-8")
    (folder / "relations.tsv").write_text("next\tcomes before\ndouble\tis half of\n", encoding="utf-8")
    for split, part in (("train", lines[:60]), ("valid", lines[60:68]), ("test", lines[68:])):
        (folder / f"{split}.tsv").write_text("".join(part), encoding="utf-8")
    return folder


def write_config(folder: Path, name: str, text: str, /, **changes: str) -> Path:
    """A graph and a file over it in a folder; SOURCE stands for the graph, `changes` replaces other parts."""
    graph = folder / "graph"
    text = text.replace("SOURCE", str(graph if graph.is_dir() else write_graph(graph)))
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def write_chain(folder: Path, **settings: str) -> Path:
    """A graph and `chain.yaml` in a folder; `settings` are further lines of the file."""
    lines = "".join(f"{key}: {value}\n" for key, value in settings.items())
    return write_config(folder, "chain.yaml", CHAIN + lines)
