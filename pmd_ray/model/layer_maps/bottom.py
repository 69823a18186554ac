"""The first layers."""

from __future__ import annotations

from pmd_ray.model.layer_maps import Similarity


def choose(depth: int, count: int, similarity: Similarity) -> list[int]:
    """Layers 0 to count - 1."""
    return list(range(count))
