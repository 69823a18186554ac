"""Which of a source's layers a student copies, by name.

A file has `choose(depth, count, similarity) -> list[int]`: `count` of the layers 0 to depth - 1, rising. `similarity()`
returns, for each layer, the mean cosine of its input and output; only a map that calls it pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Similarity = Callable[[], Sequence[float]]
