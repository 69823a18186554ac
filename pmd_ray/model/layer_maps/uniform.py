"""Every k-th layer, the last one among them: 6 -> 3 takes 1, 3, 5."""

from __future__ import annotations

from pmd_ray.model.layer_maps import Similarity


def choose(depth: int, count: int, similarity: Similarity) -> list[int]:
    """The last layer of each of `count` equal blocks."""
    return [(place + 1) * depth // count - 1 for place in range(count)]
