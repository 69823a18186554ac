"""Splits the triples into train, valid and test, by a seeded hash."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from cldr_graph.triples import Triple

SPLITS = ("train", "valid", "test")
SEED = 20
HELD_OUT = 0.1
"""Share of all triples in valid, and again in test."""


def split(triples: Sequence[Triple]) -> dict[str, list[Triple]]:
    """Train, valid and test. All triples between the same two entities stay together, whatever their direction.

    Valid and test take pairs in the order of a seeded hash, as long as both ends and every relation stay in train.
    """
    groups: dict[tuple[str, str], list[Triple]] = defaultdict(list)
    for head, relation, tail in triples:
        groups[min(head, tail), max(head, tail)].append((head, relation, tail))
    left = Counter(part for triple in triples for part in triple)
    wanted = round(HELD_OUT * len(triples))
    held: dict[str, list[Triple]] = {"valid": [], "test": []}
    for pair in sorted(groups, key=lambda pair: hashlib.sha256(f"{SEED} {pair}".encode()).digest()):
        target = min(held.values(), key=len)
        takes = Counter(part for triple in groups[pair] for part in triple)
        if len(target) < wanted and all(left[part] > count for part, count in takes.items()):
            target.extend(groups[pair])
            left -= takes
    gone = {triple for kept in held.values() for triple in kept}
    return {
        "train": [t for t in triples if t not in gone],
        "valid": sorted(held["valid"]),
        "test": sorted(held["test"]),
    }
