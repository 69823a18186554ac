"""The layers that the released config names in a comment for 12 -> 9, 6, 3; uniform elsewhere.

The released scripts never pass them, so that their students of fewer than 12 layers end in an IndexError (method
notes, 5, C2).
"""

from __future__ import annotations

from pmd_ray.model.layer_maps import Similarity, uniform

NAMED = {
    9: [0, 2, 3, 5, 6, 7, 9, 10, 11],
    6: [1, 3, 5, 7, 9, 11],
    3: [2, 6, 10],
}


def choose(depth: int, count: int, similarity: Similarity) -> list[int]:
    """The released comment's list where there is one for a source of 12 layers."""
    return list(NAMED[count]) if depth == 12 and count in NAMED else uniform.choose(depth, count, similarity)
