"""Makes the entities, named and with their facts, and the triples between them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from cldr_graph.facts import (
    currency_facts,
    language_facts,
    region_facts,
    script_facts,
    territory_facts,
    time_facts,
    zone_facts,
)
from cldr_graph.names import (
    ENGLISH,
    LOCALES,
    clean,
    english_city,
    found_names,
    locale,
    meta_zone_name,
    translated,
    words,
    zone_city,
)
from cldr_graph.triples import Triple, language_triples, territory_triples, zone_triples

# CLDR's stand-alone names; Babel keeps only the bare "Simplified" and "Traditional".
SCRIPT_NAMES = {"Hans": "Simplified Han", "Hant": "Traditional Han"}


@dataclass(kw_only=True)
class Entity:
    """One entity before its description is written."""

    id: str
    name: str
    core: str
    """The name as CLDR has it, without the word that tells its type."""
    facts: tuple[str, ...] = ()
    """Clauses about this entity alone, in the order of use."""
    variants: tuple[str, ...] = ()
    """Its names in `LOCALES`."""
    aliases: frozenset[str] = field(init=False)
    """Every name above in the form of `words`: what a partner's description must not hold."""

    def __post_init__(self) -> None:
        names = {self.name, self.core, *self.variants}
        parts = {part for name in names for part in re.split(r"[()]", name)}
        self.aliases = frozenset(" ".join(words(name)) for name in names | parts) - {""}


def make_entity(entity: str) -> Entity | None:
    """The entity with an id as in the triples, or None where CLDR has no English name for it."""
    kind, code = entity.split(":", 1)
    facts: Iterable[str]
    match kind:
        case "territory":
            core, variants, facts = (
                ENGLISH.territories.get(code),
                translated("territories", code),
                territory_facts(code),
            )
        case "region":
            core, variants, facts = ENGLISH.territories.get(code), translated("territories", code), region_facts(code)
        case "language":
            core, variants, facts = ENGLISH.languages.get(code), translated("languages", code), language_facts(code)
        case "script":
            core = SCRIPT_NAMES.get(code, ENGLISH.scripts.get(code))
            variants, facts = translated("scripts", code), script_facts(code)
        case "currency":
            core, facts = ENGLISH.currencies.get(code), currency_facts(code)
            # "(1871–2008)" would stand behind each of them; the facts tell the years.
            variants = found_names(re.sub(r" *\(\d.*\)", "", name) for name in translated("currencies", code))
        case "zone":
            core, facts = english_city(code), zone_facts(code)
            variants = found_names(zone_city(found, code) for found in map(locale, LOCALES) if found)
        case "time":
            core = meta_zone_name(ENGLISH, code) if code in ENGLISH.meta_zones else None
            facts = time_facts(code)
            variants = found_names(meta_zone_name(found, code) for found in map(locale, LOCALES) if found)
        case _:
            raise ValueError(f"no such kind of entity: {entity}")
    if not core:
        return None
    core = clean(core)
    core = core[0].upper() + core[1:]  # "world"
    type_word = {"script": " script", "zone": " time zone"}.get(kind, "")
    return Entity(
        id=entity, name=core + type_word, core=core, facts=tuple(clean(fact) for fact in facts), variants=variants
    )


def read_graph() -> tuple[dict[str, Entity], list[Triple]]:
    """Entities by id, and all triples (sorted, distinct) between entities that have an English name."""
    found = sorted({*territory_triples(), *language_triples(), *zone_triples()})
    made = {entity: make_entity(entity) for entity in sorted({end for head, _, tail in found for end in (head, tail)})}
    entities = {key: entity for key, entity in made.items() if entity}
    entities.pop("language:und", None)  # CLDR's "Unknown language", said of Antarctica
    triples = [triple for triple in found if triple[0] in entities and triple[2] in entities]
    linked = {end for head, _, tail in triples for end in (head, tail)}
    entities = {key: entity for key, entity in entities.items() if key in linked}
    for same in by_name(entities.values()).values():
        for entity in same if len(same) > 1 else ():
            kind = entity.id.split(":")[0]
            if kind != "territory":  # the country keeps the plain name: Nauru, and the Nauru language
                entity.name = f"{entity.name} {kind}"
    return entities, triples


def by_name(entities: Iterable[Entity]) -> dict[str, list[Entity]]:
    found = defaultdict(list)
    for entity in entities:
        found[entity.name.casefold()].append(entity)
    return found
