"""Which graph, and how its texts are made."""

from __future__ import annotations

from pydantic import Field

from pmd_ray.spec.base import Frozen


class TextConfig(Frozen):
    """The text of an entity and of a query, as SimKGC makes them; each part is an option."""

    description: bool = True
    """`name: description`; false gives names only. Source: SimKGC."""
    neighbours: bool = True
    """Extend short descriptions by neighbour names from the training graph, the answer left out while training.
    Source: SimKGC (`--use-link-graph`)."""
    neighbours_below_words: int = Field(default=20, ge=0)
    """A description with fewer words than this counts as short. Source: SimKGC."""
    max_neighbours: int = Field(default=10, ge=0)
    """At most so many neighbours, the first by id. Source: SimKGC."""
    max_tokens: int = Field(default=50, ge=8, le=512)
    """Tokens of a sequence, special tokens included; the longer of two segments is cut first. Source: PMD, 4.1."""


class DatasetConfig(Frozen):
    """A knowledge graph with texts."""

    source: str = Field(default="cldr", min_length=1)
    """A bundled or fetched dataset's name (`pmd data list`), a folder in the canonical layout, or NAME@FINGERPRINT of a
    graph in the storage (`pmd data push`)."""
    text: TextConfig = TextConfig()
