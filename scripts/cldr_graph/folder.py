"""Writes the graph's folder, and shows parts of it to a person."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from cldr_graph.baseline import baseline, read_rows
from cldr_graph.describe import describe, forbidden_names
from cldr_graph.entities import read_graph
from cldr_graph.source_note import source_text
from cldr_graph.split import SPLITS, split
from cldr_graph.triples import RELATIONS


def build(folder: Path) -> None:
    """Write the graph and its SOURCE.md; the same bytes for the same Babel."""
    entities, triples = read_graph()
    forbidden = forbidden_names(entities, triples)
    texts = {key: describe(entity, forbidden[key]) for key, entity in entities.items()}
    parts = split(triples)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"entities.tsv": table((key, entity.name, texts[key]) for key, entity in entities.items())}
    files["relations.tsv"] = table(RELATIONS.items())
    files |= {f"{name}.tsv": table(parts[name]) for name in SPLITS}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    source = source_text(entities, texts, parts, baseline(folder))
    (folder / "SOURCE.md").write_text(source, encoding="utf-8", newline="\n")


def table(rows: Iterable[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def show(folder: Path, count: int) -> None:
    """Print random entities and triples, to be read by a person."""
    entities = read_rows(folder / "entities.tsv")
    names = {row[0]: row[1] for row in entities}
    texts = dict(read_rows(folder / "relations.tsv"))
    triples = [triple for name in SPLITS for triple in read_rows(folder / f"{name}.tsv")]
    for row in random.sample(entities, count):
        print(" | ".join(row))
    for head, relation, tail in random.sample(triples, count):
        print(f"{names[head]} -- {texts[relation]} --> {names[tail]}")
