"""How much is computed or held at once: what training does, and what plans count on."""

from __future__ import annotations

GROUP_TOKENS = {"cpu": 1 << 10, "cuda": 1 << 13}
"""Tokens of a group of texts at most. A CPU's caches hold what a layer makes of so many; a GPU wants more at once.
Encoders that pad draw dropout group by group: whoever changes them raises `keys.METHOD_VERSION`."""
RANKED = {"cpu": (1024, 4128), "cuda": (512, 8192)}
"""Queries and entities of one block of scores in a ranking. On a CPU whole strips, but no power of two: rows that lie
one apart share few places of a cache, and a product into 8,192 columns took a quarter longer than into 8,256."""
RANKED_FROM_FILE = 8192, 512
"""The same where vectors lie in a file, which is read from end to end for each block of queries."""
SCORE_CELLS = {"cpu": 1 << 18, "cuda": 1 << 26}
"""Of a matrix of a training batch's scores at most: larger ones are made some rows at a time. A GPU has the memory, and
pays for each small product. A change changes sums in their last digits in batches above the root."""
SCORE_BYTES = 7
"""Of each score of a block."""
TABLE_BYTES = 2 << 30
"""Of vectors in memory at most; a larger table of a single CPU worker lies in a file, and the system pages it."""


def table_bytes(count: int, width: int) -> int:
    """Of so many fp32 vectors."""
    return count * width * 4
