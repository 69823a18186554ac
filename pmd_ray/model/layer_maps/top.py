"""The last layers."""

from __future__ import annotations

from pmd_ray.model.layer_maps import Similarity


def choose(depth: int, count: int, similarity: Similarity) -> list[int]:
    """Layers depth - count to depth - 1."""
    return list(range(depth - count, depth))
