"""Counts a sound graph and words its warnings: cold entities, reversed test triples, texts that say nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pmd_ray.kg.graph import SPLITS, Split, Triples
from pmd_ray.kg.read import Table


@dataclass(frozen=True, kw_only=True)
class Cold:
    """What an evaluation split holds that training never shows."""

    entities: int = 0
    triples: int = 0
    """Triples with such an entity."""
    relations: int = 0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sizes of a graph; the figures below `test` are counted only where it has no problem."""

    entities: int
    relations: int
    train: int
    valid: int
    test: int
    entities_in_no_triple: int = 0
    valid_cold: Cold = Cold()
    test_cold: Cold = Cold()
    test_reversed_in_train: int = 0
    """Test triples (h, r, t) with (t, r, h) in train: a reverse lookup answers them."""
    entities_sharing_all_text: int = 0
    """Entities whose name and description another entity has too."""
    entities_without_description: int = 0
    relations_sharing_text: int = 0


def counts_of(entities: Table, relations: Table, triples: Mapping[Split, Triples], *, sound: bool) -> Counts:
    """Count a graph; `sound` says that it has no problem, so that all its ids are known."""
    train, valid, test = triples["train"], triples["valid"], triples["test"]
    sizes = Counts(entities=len(entities), relations=len(relations), train=len(train), valid=len(valid), test=len(test))
    if not sound:
        return sizes
    in_triples = np.zeros(len(entities), dtype=np.bool_)
    for split in SPLITS:
        in_triples[triples[split][:, [0, 2]]] = True
    bases = (len(entities), len(relations))
    return replace(
        sizes,
        entities_in_no_triple=len(entities) - int(in_triples.sum()),
        valid_cold=_cold(train, valid),
        test_cold=_cold(train, test),
        test_reversed_in_train=int(np.isin(keys_of(test[:, ::-1], bases=bases), keys_of(train, bases=bases)).sum()),
        entities_sharing_all_text=_sharing(zip(entities.columns[1], entities.columns[2], strict=True)),
        entities_without_description=sum(not text.strip() for text in entities.columns[2]),
        relations_sharing_text=_sharing(relations.columns[1]),
    )


def keys_of(triples: NDArray[np.integer], *, bases: tuple[int, int]) -> NDArray[np.int64]:
    """[N] one number for each triple of [N, 3], equal for equal triples; `bases`: how many entities and relations."""
    entities, relations = bases
    head, relation, tail = triples.astype(np.int64).T
    return np.asarray((head * relations + relation) * entities + tail, dtype=np.int64)


def warnings_of(counts: Counts) -> tuple[str, ...]:
    """The warnings that the counts give reason for, a sentence each."""
    colds: tuple[tuple[Split, Cold, int], ...] = (
        ("valid", counts.valid_cold, counts.valid),
        ("test", counts.test_cold, counts.test),
    )
    found: list[str] = []
    for split, cold, size in colds:
        if cold.entities:
            share = f"{cold.triples:,} of {size:,} triples hold one"
            found.append(f"{split}: {cold.entities:,} cold entities, never seen in train ({share})")
        if cold.relations:
            found.append(f"{split}: {cold.relations:,} relations are never seen in train")
    if counts.test_reversed_in_train:
        share = f"{counts.test_reversed_in_train:,} of {counts.test:,} triples"
        found.append(f"test: {share} stand reversed, with the same relation, in train; a lookup answers them")
    if counts.entities_in_no_triple:
        found.append(f"{counts.entities_in_no_triple:,} entities are in no triple; they are ranked as answers")
    if counts.entities_sharing_all_text:
        found.append(f"{counts.entities_sharing_all_text:,} entities share name and description with another")
    if counts.entities_without_description:
        found.append(f"{counts.entities_without_description:,} of {counts.entities:,} entities have no description")
    if counts.relations_sharing_text:
        found.append(f"{counts.relations_sharing_text:,} relations share their text with another")
    return tuple(found)


def _cold(train: Triples, other: Triples) -> Cold:
    cold = ~np.isin(other[:, [0, 2]], train[:, [0, 2]])
    return Cold(
        entities=len(np.unique(other[:, [0, 2]][cold])),
        triples=int(cold.any(axis=1).sum()),
        relations=len(np.setdiff1d(other[:, 1], train[:, 1])),
    )


def _sharing(texts: Iterable[object]) -> int:
    return sum(count for count in Counter(texts).values() if count > 1)
