"""Sizes of encoders and graphs that are not on this machine, so that a plan can be made before anything is fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pmd_ray.kg.catalog import datasets
from pmd_ray.kg.graph import SPLITS, Graph


@dataclass(frozen=True)
class EncoderSizes:
    """What of an encoder decides costs."""

    layers: int
    width: int
    vocabulary: int
    positions: int = 512
    assumed: bool = False
    """Taken from a table or guessed, not read from its files."""

    def weights(self, layers: int, width: int | None = None) -> int:
        """Weights of one tower of so many layers: 12 D^2 + 13 D a layer, the tables of words and places beside them."""
        wide = width or self.width
        return layers * (12 * wide * wide + 13 * wide) + (self.vocabulary + self.positions + 4) * wide


@dataclass(frozen=True, kw_only=True)
class GraphSizes:
    """How large a graph is."""

    entities: int
    relations: int
    train: int
    """Triples of each split."""
    valid: int
    test: int

    @classmethod
    def of(cls, graph: Graph) -> GraphSizes:
        """Counted."""
        splits = {split: len(graph.triples(split)) for split in SPLITS}
        return cls(entities=graph.num_entities, relations=graph.num_relations, **splits)


BASE = EncoderSizes(12, 768, 30_522, assumed=True)
KNOWN = {
    "bert-base-uncased": BASE,
    "bert-base-cased": EncoderSizes(12, 768, 28_996, assumed=True),
    "bert-large-uncased": EncoderSizes(24, 1024, 30_522, assumed=True),
    "bert-large-cased": EncoderSizes(24, 1024, 28_996, assumed=True),
    "bert-base-multilingual-cased": EncoderSizes(12, 768, 119_547, assumed=True),
    "all-minilm-l6-v2": EncoderSizes(6, 384, 30_522, assumed=True),
    "all-minilm-l12-v2": EncoderSizes(12, 384, 30_522, assumed=True),
    "paraphrase-minilm-l3-v2": EncoderSizes(3, 384, 30_522, assumed=True),
    "minilm-l12-h384-uncased": EncoderSizes(12, 384, 30_522, assumed=True),
    "minilm": EncoderSizes(6, 384, 30_522, assumed=True),
}
"""By the last part of the name, in lower case."""
MINIATURE = re.compile(r"bert_uncased_l-(\d+)_h-(\d+)_a-\d+")
"""Google's small BERTs (Turc et al. 2019)."""


def encoder_sizes(name: str) -> EncoderSizes | None:
    """Sizes of a well-known encoder by its name on the Hub; None for others."""
    last = name.lower().rpartition("/")[2]
    small = MINIATURE.fullmatch(last)
    return EncoderSizes(int(small[1]), int(small[2]), 30_522, assumed=True) if small else KNOWN.get(last)


def graph_sizes(name: str) -> GraphSizes | None:
    """Sizes of a dataset that the catalog knows; None for others."""
    for dataset in datasets():
        if dataset.name == name:
            keys = ("entities", "relations", "train", "valid", "test")
            return GraphSizes(**{key: getattr(dataset, key) for key in keys})
    return None
