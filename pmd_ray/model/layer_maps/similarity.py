"""Drop the layers that change their input least (after EchoAtt, 2409.14595); the first and last stay."""

from __future__ import annotations

from pmd_ray.model.layer_maps import Similarity


def choose(depth: int, count: int, similarity: Similarity) -> list[int]:
    """Keep the first, the last, and the inner layers whose output is least like their input."""
    if count >= depth:
        return list(range(depth))
    if count == 1:
        return [depth - 1]
    alike = similarity()
    inner = sorted(range(1, depth - 1), key=lambda layer: (alike[layer], layer))[: count - 2]
    return sorted([0, *inner, depth - 1])
