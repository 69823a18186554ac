"""A knowledge graph with texts, as arrays: what every other room reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Triples = NDArray[np.int32]
"""[N, 3] rows of head, relation, tail: positions in `entity_ids` and `relation_ids`."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Entities and relations with texts, and the triples of three splits.

    Entities are numbered in the order of `entities.tsv`, relations in that of `relations.tsv`.
    """

    name: str
    entity_ids: tuple[str, ...]
    entity_names: tuple[str, ...]
    entity_descriptions: tuple[str, ...]
    """Empty where an entity has none."""
    relation_ids: tuple[str, ...]
    relation_texts: tuple[str, ...]
    train: Triples
    valid: Triples
    test: Triples
    fingerprint: str
    """SHA-256 (hex) of the content in canonical form: equal for equal graphs wherever they lie."""
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What is legal and worth knowing: cold entities, reversed test triples."""

    @property
    def num_entities(self) -> int:
        return len(self.entity_ids)

    @property
    def num_relations(self) -> int:
        """Relations as written; queries use twice as many (each has its inverse)."""
        return len(self.relation_ids)

    def triples(self, split: Split) -> Triples:
        """The [N, 3] triples of a split."""
        match split:
            case "train":
                return self.train
            case "valid":
                return self.valid
            case "test":
                return self.test

    def texts(self) -> list[str]:
        """Every text that it holds, and the words that queries add: what a vocabulary from scratch is trained on."""
        return [*self.entity_names, *self.entity_descriptions, *self.relation_texts, "inverse", ":"]

    @cached_property
    def entity_index(self) -> dict[str, int]:
        """Entity id to its number."""
        return {entity: number for number, entity in enumerate(self.entity_ids)}

    @cached_property
    def relation_index(self) -> dict[str, int]:
        """Relation id to its number."""
        return {relation: number for number, relation in enumerate(self.relation_ids)}
