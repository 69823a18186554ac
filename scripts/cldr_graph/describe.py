"""Writes an entity's description: other names and facts, and nothing that names a partner."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from cldr_graph.entities import Entity
from cldr_graph.names import latin, plain, words
from cldr_graph.triples import Triple

MAX_NAMES = 4
FEW, ENOUGH, MOST = 50, 75, 100
"""Letters of a description: from ENOUGH on it gets no further name, over MOST none in any case; under FEW, or without
another name, it gets a filler. About 15, 25 and 40 tokens of a BERT vocabulary."""
FILLERS = {
    "territory": "a country or territory with an entry of its own in the ISO 3166 standard",
    "region": "a group of countries and territories with a name of its own",
    "language": "a language with an entry of its own in the ISO 639 standard",
    "script": "a writing system with an entry of its own in the ISO 15924 standard",
    "currency": "a currency with an entry of its own in the ISO 4217 standard",
    "zone": "the local time of a place with an entry of its own in the IANA database",
    "time": "a time that several places have in common by agreement",
}
"""What is said of an entity about which CLDR says little else."""


def leaks(text: str, forbidden: frozenset[str] | set[str]) -> list[str]:
    """Names in `forbidden` (as `words` writes them) that the text holds as whole words, whatever their case."""
    parts = words(text)
    runs = {" ".join(parts[start:stop]) for start in range(len(parts)) for stop in range(start + 1, len(parts) + 1)}
    return sorted(runs & forbidden)


def forbidden_names(entities: dict[str, Entity], triples: Sequence[Triple]) -> dict[str, set[str]]:
    """For each entity the names, English and translated, of every entity that it shares a triple with."""
    found: dict[str, set[str]] = defaultdict(set)
    for head, _, tail in triples:
        found[head] |= entities[tail].aliases
        found[tail] |= entities[head].aliases
    return found


def distinct(variants: Iterable[str], *, known: str) -> list[str]:
    """Variants in Latin letters that differ from the known name and each other, the clearly different ones first."""
    far: list[str] = []
    near: list[str] = []
    seen = {plain(known)}
    for variant in variants:
        letters = plain(variant)
        if letters in seen or not latin(variant):
            continue
        alike = max(difflib.SequenceMatcher(None, letters, other).ratio() for other in [plain(known), *map(plain, far)])
        seen.add(letters)
        (far if alike < 0.75 else near).append(variant)
        if len(far) == MAX_NAMES:
            break
    return far + near


def describe(entity: Entity, forbidden: set[str]) -> str:
    """Other names and facts, at a length that suits a query; whatever names a partner is left out."""
    facts = [fact for fact in entity.facts if not leaks(fact, forbidden)]
    names: list[str] = []
    for name in distinct((name for name in entity.variants if not leaks(name, forbidden)), known=entity.core):
        if len(names) == MAX_NAMES or (len(names) >= 2 and len("; ".join([*facts, *names])) >= ENOUGH):
            break
        if len("; ".join([*facts, *names, name])) <= MOST:
            names.append(name)
    clauses = ["also called " + ", ".join(names)] * bool(names) + facts
    if not names or len("; ".join(clauses)) < FEW:
        clauses.insert(0, FILLERS[entity.id.split(":")[0]])
    text = "; ".join(clauses)
    found = leaks(text, forbidden)
    if found:
        raise ValueError(f"the description of {entity.id} names a partner: {found} in {text!r}")
    return text
