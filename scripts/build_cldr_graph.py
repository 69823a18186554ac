"""Builds the bundled knowledge graph from Unicode CLDR, as the Babel package carries it.

    python scripts/build_cldr_graph.py pmd_ray/kg/bundled/cldr    # writes the six files
    python scripts/build_cldr_graph.py FOLDER --baseline          # scores the shallow baselines on a built folder
    python scripts/build_cldr_graph.py FOLDER --show 20           # prints random entities and triples of a built folder

Three steps: read entities and triples, describe each entity with facts of its own, split. Nothing random but the
seeded split, no network, no clock: one Babel version gives the same bytes on every machine.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import babel
import numpy as np
from babel.core import Locale, UnknownLocaleError, get_global

Triple = tuple[str, str, str]
SPLITS = ("train", "valid", "test")
SEED = 20
HELD_OUT = 0.1
"""Share of all triples in valid, and again in test."""

RELATIONS = {
    "official_language": "official language",
    "regional_official_language": "regional official language",
    "spoken_language": "spoken language",
    "currency": "currency in use",
    "former_currency": "former currency",
    "time_zone": "time zone",
    "observed_time": "observed time",
    "script": "written in script",
    "secondary_script": "also written in script",
    "script_language": "main language of the script",
    "main_territory": "main territory",
    "region": "part of region",
}
MIN_SPEAKERS = 0.1
"""Percent of a territory's population from which a language without official status counts as spoken there."""

# Names in these languages make the descriptions: Latin script, so that a BERT vocabulary reads them, and well filled in
# CLDR. The order is the order of preference.
# fmt: off
LOCALES = (
    "de", "fr", "es", "fi", "pl", "hu", "tr", "it", "cs", "nl", "sv", "pt", "lt", "ro", "hr", "id", "lv", "et", "sl",
    "ca", "eu", "cy", "da", "is", "nb", "sk", "az", "sq", "gl", "af", "uz", "tk", "br", "eo", "lb", "fy", "ast",
)
# fmt: on

# Babel leaves out CLDR's territoryContainment, so its UN M49 tree stands here. Read from unicode-org/cldr-json,
# cldr-core/supplemental/territoryContainment.json (without the groupings and the deprecated codes).
CONTAINMENT = {
    "001": "002 009 019 142 150",
    "002": "011 014 015 017 018",
    "009": "053 054 057 061 QO",
    "019": "005 013 021 029",
    "142": "030 034 035 143 145",
    "150": "039 151 154 155",
    "005": "AR BO BR BV CL CO EC FK GF GS GY PE PY SR UY VE",
    "011": "BF BJ CI CV GH GM GN GW LR ML MR NE NG SH SL SN TG",
    "013": "BZ CR GT HN MX NI PA SV",
    "014": "BI DJ ER ET IO KE KM MG MU MW MZ RE RW SC SO SS TF TZ UG YT ZM ZW",
    "015": "DZ EA EG EH IC LY MA SD TN",
    "017": "AO CD CF CG CM GA GQ ST TD",
    "018": "BW LS NA SZ ZA",
    "021": "BM CA GL PM US",
    "029": "AG AI AW BB BL BQ BS CU CW DM DO GD GP HT JM KN KY LC MF MQ MS PR SX TC TT VC VG VI",
    "030": "CN HK JP KP KR MN MO TW",
    "034": "AF BD BT IN IR LK MV NP PK",
    "035": "BN ID KH LA MM MY PH SG TH TL VN",
    "039": "AD AL BA ES GI GR HR IT ME MK MT PT RS SI SM VA XK",
    "053": "AU CC CX HM NF NZ",
    "054": "FJ NC PG SB VU",
    "057": "FM GU KI MH MP NR PW UM",
    "061": "AS CK NU PF PN TK TO TV WF WS",
    "143": "KG KZ TJ TM UZ",
    "145": "AE AM AZ BH CY GE IL IQ JO KW LB OM PS QA SA SY TR YE",
    "151": "BG BY CZ HU MD PL RO RU SK UA",
    "154": "AX CQ DK EE FI FO GB GG IE IM IS JE LT LV NO SE SJ",
    "155": "AT BE CH DE FR LI LU MC NL",
    "QO": "AC AQ CP DG TA",
}
CONTAINMENT_SOURCE = "unicode-org/cldr-json @ a198dbf17e1d2314a76b84b30904b87a5f8618bb"
# CLDR's stand-alone names; Babel keeps only the bare "Simplified" and "Traditional".
SCRIPT_NAMES = {"Hans": "Simplified Han", "Hant": "Traditional Han"}
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
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DIGITS = ("no decimals", "one decimal", "two decimals", "three decimals", "four decimals")


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


SOURCE = """\
# CLDR

Territories, languages, scripts, currencies, time zones and regions in Unicode CLDR, in relation to each other.
CLDR is the Unicode Common Locale Data Repository, read through the Python package Babel. This file and its neighbours
are written by `scripts/build_cldr_graph.py`.

Built from: {versions}

    python scripts/build_cldr_graph.py pmd_ray/kg/bundled/cldr

The same Babel gives the same bytes (no network, no clock; split seed {seed}); a test rebuilds and compares. The UN M49
containment, which Babel leaves out, is a table in the script, from
{containment}
(`cldr-json/cldr-core/supplemental/territoryContainment.json`).

## Licence

Unicode License v3 (`Unicode-3.0`). It covers CLDR's data files, of which this graph is made: see
https://www.unicode.org/license.txt. The copyright and permission notice, as Babel ships it, is at the end of this file,
as the licence asks. Babel itself, of whose code nothing is copied here, is under the BSD 3-Clause License.

## Counts

| entities | {entities} |
| --- | --- |
{kinds}

| relation | text | train | valid | test |
| --- | --- | --- | --- | --- |
{relations}
| all | | {totals} |

Descriptions have {mean} words in the mean; least, 5 %, median, 95 % and most: {spread}.

## How it is made

- A description holds facts of its entity alone: names in other languages (Latin script only, so that a BERT vocabulary
  reads them; the language is not told), codes, symbol, decimals, years of use, first weekday, clock, direction of
  writing, its words for Monday and January. A fact or name that holds, as whole words and in any case, the name of an
  entity that shares a triple with this one in any split is left out: the English name, or one in any of the languages
  used.
- `spoken language`: no official status, at least {speakers} % of the population. `official language` includes "de
  facto official". Languages with script tags (`pa_Arab`) count as the language. `former currency`: legal tender that
  is not so now. Currencies that were never tender are left out.
- `main territory` and `written in script` come from CLDR's likely subtags; `also written in script` from other
  scripts that CLDR lists. `observed time` is the time zone's metazone, if more than one zone has it.
- `main territory` of invented languages (Esperanto) is the world.
- Left out: languages without an English name in CLDR; zones whose city bears the name of their territory (Singapore),
  since they answer themselves.
- Split: all triples between the same two entities stay in one split, so `Germany, official language, German` in test
  never has `German, main territory, Germany` in train. No relation is symmetric, none is another's inverse by
  definition. Every entity and relation of valid and test is in train: {singles} entities have one triple only, and
  those are in train.

## Baselines

Filtered MRR on the test split, both directions against all entities, ties as the mean rank
(`python scripts/build_cldr_graph.py FOLDER --baseline`; the script says what each scorer does). None is trained.

| scorer | MRR |
| --- | --- |
{scores}

## Oddities

- Names hold answers where the world does. In {named} triples one name holds the other whole (Arabic, Arabic script),
  and in many more a part of it (Cuban Peso, Cuba). Codes are telling too: `KES` is a currency of `KE`.
- {latin_share} of {latin} `written in script` triples say Latin.
- What a description leaves out depends on the triples of all splits, since names of partners are dropped. Locales
  are not named, so little can be read from the gaps.
- A few currency signs (₦) and accented letters are unknown to some BERT vocabularies.
- "Spoken" is what CLDR lists, which is not complete: the filter does not know every right answer.
- Years come from CLDR's tender dates and do not always agree with those in a currency's name (`SLL`).
- A few zone names are CLDR's spelling of the identifier's last part ("Tirane").
- Numeric country codes are missing where CLDR maps several to one territory (Germany: 276, 278, 280).
- The containment table was read at a commit that calls itself CLDR 49, so it is younger than the rest.

## Notice

{notice}
"""

# ---- reading CLDR


@cache
def locale(identifier: str) -> Locale | None:
    """The locale, or None where CLDR has no data for it."""
    try:
        return Locale.parse(identifier)
    except (UnknownLocaleError, ValueError):
        return None


ENGLISH = Locale("en")


@cache
def clean(text: str) -> str:
    """NFC, one space between words, no control or format characters."""
    kept = (" " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).split())


def words(text: str) -> list[str]:
    """Case-folded words; punctuation separates."""
    return re.findall(r"\w+", text.casefold())


def translated(table: str, code: str) -> tuple[str, ...]:
    """The names of a code in `LOCALES`, from one of Babel's tables of names."""
    found = (getattr(locale(name), table).get(code) for name in LOCALES)
    return found_names(name for name in found if name != code)


def found_names(names: Iterable[str | None]) -> tuple[str, ...]:
    """The names that are there, cleaned, each once, in order. "∅∅∅" is CLDR's mark for 'no name here'."""
    return tuple(dict.fromkeys(clean(name) for name in names if name and "∅" not in name))


def zone_city(data: Locale, zone: str) -> str | None:
    """The exemplar city of a time zone, or None where the locale does not name one."""
    return (data.time_zones.get(zone) or {}).get("city")


def english_city(zone: str) -> str:
    return clean(zone_city(ENGLISH, zone) or zone.rsplit("/", 1)[-1].replace("_", " "))


def meta_zone_name(data: Locale, meta: str) -> str | None:
    """'East Africa Time': the generic long name, else the standard one."""
    long_names = (data.meta_zones.get(meta) or {}).get("long") or {}
    return long_names.get("generic") or long_names.get("standard")


def likely(tag: str) -> list[str] | None:
    """[language, script, territory] that CLDR adds to a tag, or None."""
    found = get_global("likely_subtags").get(tag)
    return found.split("_")[:3] if found and found.count("_") >= 2 else None


def territories() -> list[str]:
    return sorted(code for code in get_global("territory_languages") if code in ENGLISH.territories and code != "ZZ")


def place(code: str) -> str:
    """The id of a territory or region. Languages that were invented have the world, 001, as their territory."""
    return f"region:{code}" if code in CONTAINMENT else f"territory:{code}"


def territory_triples() -> Iterator[Triple]:
    """Languages, currencies and regions of territories."""
    relation_of_status = {
        "official": "official_language",
        "de_facto_official": "official_language",
        "official_regional": "regional_official_language",
    }
    for territory in territories():
        best: dict[str, str] = {}  # a language may stand there twice, as pa and as pa_Arab: its highest status counts
        for code, info in get_global("territory_languages")[territory].items():
            relation = relation_of_status.get(info["official_status"], "spoken_language")
            if relation != "spoken_language" or info["population_percent"] >= MIN_SPEAKERS:
                language = code.split("_")[0]
                best[language] = min(relation, best.get(language, relation), key=list(RELATIONS).index)
        for language, relation in best.items():
            yield f"territory:{territory}", relation, f"language:{language}"
        uses = get_global("territory_currencies").get(territory, ())
        in_use = {code for code, _, end, tender in uses if tender and not end}
        for code, _, _, tender in uses:
            if tender:
                yield f"territory:{territory}", "currency" if code in in_use else "former_currency", f"currency:{code}"
    for outer, inner in CONTAINMENT.items():
        for code in inner.split():
            yield place(code), "region", f"region:{outer}"


def language_triples() -> Iterator[Triple]:
    """Scripts and main territories of languages, and the main language of each script."""
    for code in ENGLISH.languages:
        if "_" not in code and (tags := likely(code)):
            yield f"language:{code}", "script", f"script:{tags[1]}"
            yield f"language:{code}", "main_territory", place(tags[2])
    in_territories = {code for spoken in get_global("territory_languages").values() for code in spoken}
    for tag in sorted(in_territories | set(get_global("likely_subtags"))):
        first, _, script = tag.partition("_")
        if len(script) != 4:
            continue
        main = likely(tag if first == "und" else first)
        if first == "und" and main:
            yield f"script:{script}", "script_language", f"language:{main[0]}"
        elif main and main[1] != script:
            yield f"language:{first}", "secondary_script", f"script:{script}"


def zone_triples() -> Iterator[Triple]:
    """Time zones of territories, and the common time that several zones keep.

    A zone named after its territory is left out: it would answer itself. So is a common time of a single zone.
    """
    meta_zones = get_global("meta_zones")
    zones = {}
    for territory in territories():
        name = set(words(ENGLISH.territories[territory]))
        for zone in get_global("territory_zones").get(territory, ()):
            city = set(words(english_city(zone)))
            if not (city <= name or name <= city):
                zones[zone] = territory
    shared = Counter(meta_zones[zone] for zone in zones if zone in meta_zones)
    for zone, territory in zones.items():
        yield f"territory:{territory}", "time_zone", f"zone:{zone}"
        if shared[meta_zones.get(zone)] > 1:
            yield f"zone:{zone}", "observed_time", f"time:{meta_zones[zone]}"


# ---- entities


def territory_locale(code: str) -> Locale | None:
    """The locale of the territory's main language, or English there."""
    tags = likely(f"und_{code}") or ["en", "Latn", code]
    return locale("_".join(tags)) or locale(f"{tags[0]}_{code}") or locale(f"en_{code}")


def territory_facts(code: str) -> Iterator[str]:
    aliases = [alias for alias, now in get_global("territory_aliases").items() if now == [code]]
    in_order = re.compile(f"{code[0]}.*{code[1]}")
    three = [alias for alias in aliases if len(alias) == 3 and alias.isalpha()]
    # Retired codes (DDR, 278) point to the same territory: take the one that spells the code, no number if in doubt.
    three = [alias for alias in three if in_order.match(alias)] or three
    number = [alias for alias in aliases if alias.isdigit()]
    codes = [code, *three[:1], *(number if len(number) == 1 else [])]
    yield ("codes " if len(codes) > 1 else "code ") + ", ".join(codes)
    data = territory_locale(code)
    if data:
        hours = 12 if "h" in data.time_formats["short"].pattern else 24
        yield f"weeks begin on {WEEKDAYS[data.first_week_day]}, {hours}-hour clock"


def language_facts(code: str) -> Iterator[str]:
    longer = sorted(
        alias for alias, now in get_global("language_aliases").items() if now == code and len(alias) == 3 > len(code)
    )
    yield ("codes " if longer else "code ") + ", ".join([code, *longer[:2]])
    data = locale(code)
    if data:
        if data.character_order == "right-to-left":
            yield "runs from right to left"
        monday, january = calendar_word(data.days, 0), calendar_word(data.months, 1)
        if monday and january:
            yield f"its words for Monday and January are {monday} and {january}"


def calendar_word(table: Any, key: int) -> str | None:
    """The name of a day or month as it stands alone, else inside a date; None where the locale has none in Latin."""
    found = [clean(str(table[context]["wide"][key])) for context in ("stand-alone", "format")]
    # "Mon" and "M01" are what locales without a name of their own inherit.
    return next((name for name in found if name not in ("Mon", "M01") and latin(name)), None)


def script_facts(code: str) -> Iterator[str]:
    yield f"code {code}"
    for identifier in script_locales().get(code, ())[:1]:
        yield f"runs from {Locale.parse(identifier).character_order.replace('-', ' ')}"


@cache
def script_locales() -> dict[str, list[str]]:
    """Script to the languages with locale data that are mainly written in it."""
    found = defaultdict(list)
    for code in sorted(ENGLISH.languages):
        tags = likely(code)
        if tags and locale(code):
            found[tags[1]].append(code)
    return found


def currency_facts(code: str) -> Iterator[str]:
    spans = [
        (territory, start, end)
        for territory, uses in sorted(get_global("territory_currencies").items())
        for used, start, end, tender in uses
        if used == code and tender
    ]
    symbols = [ENGLISH.currency_symbols.get(code)]
    symbols += [data.currency_symbols.get(code) for territory, *_ in spans if (data := locale(f"en_{territory}"))]
    symbol = next((clean(sign) for sign in symbols if sign and sign != code), None)
    yield f"code {code}" + (f", symbol {symbol}" if symbol else "")
    yield DIGITS[get_global("currency_fractions").get(code, (2,))[0]]
    starts = [start[0] for _, start, _ in spans if start]
    if starts:
        yield f"first used in {min(starts)}"
    if all(end for *_, end in spans):
        yield f"withdrawn in {max(end[0] for *_, end in spans if end)}"


def zone_facts(code: str) -> Iterator[str]:
    yield f"identifier {code}"
    for alias in sorted(alias for alias, now in get_global("zone_aliases").items() if now == code and "/" in alias)[:1]:
        yield f"also listed as {alias}"


def time_facts(meta: str) -> Iterator[str]:
    names = ENGLISH.meta_zones[meta]
    if "daylight" in names["long"]:
        yield f"summer name {names['long']['daylight']}"
    short = [str(name) for name in (names.get("short") or {}).values() if "∅" not in name]
    if short:
        yield "abbreviated " + ", ".join(dict.fromkeys(short))


def latin(text: str) -> bool:
    """Whether all letters are Latin ones that common vocabularies hold: no phonetic signs, no clicks."""
    return all(
        "LATIN" in unicodedata.name(char, "") and (char < "ƀ" or "Ḁ" <= char <= "ỿ") for char in text if char.isalpha()
    )


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


def region_facts(code: str) -> Iterator[str]:
    yield f"statistical area with code {code}"
    yield "a United Nations grouping of the M49 standard" if code.isdigit() else "a grouping made for locale data"


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


# ---- descriptions


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


def plain(text: str) -> str:
    """Lower case without accents: what an uncased vocabulary sees."""
    return "".join(char for char in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(char))


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


# ---- split


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


# ---- shallow baselines


def read_rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def trigrams(text: str) -> Iterator[str]:
    for word in words(plain(text)):
        for start in range(len(word)):
            yield f" {word} "[start : start + 3]


def trigram_matrix(texts: Sequence[str]) -> Any:
    """[E, G] unit rows: inverse-document-frequency weights of the letter trigrams of each text."""
    bags = [set(trigrams(text)) for text in texts]
    count = Counter(gram for bag in bags for gram in bag)
    column = {gram: number for number, gram in enumerate(sorted(count))}
    matrix = np.zeros((len(texts), len(column)))
    for row, bag in enumerate(bags):
        for gram in bag:
            matrix[row, column[gram]] = np.log(len(texts) / count[gram])
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def baseline(folder: Path) -> dict[str, float]:
    """Filtered test MRR over both directions, ties as the mean rank, of scorers that learn next to nothing.

    `frequency`: how often the candidate answers this relation and direction in train; `letters`: cosine of the
    trigrams of the two names; `texts`: the same of names with descriptions; `+ frequency`: the sum with the logarithm
    of the first, answers of train only.
    """
    entities = read_rows(folder / "entities.tsv")
    index = {row[0]: number for number, row in enumerate(entities)}
    answers: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    frequency: dict[tuple[str, bool], Any] = defaultdict(lambda: np.zeros(len(entities)))
    for name in SPLITS:
        for head, relation, tail in read_rows(folder / f"{name}.tsv"):
            for query, answer, inverse in ((head, tail, False), (tail, head, True)):
                answers[query, relation, inverse].append(index[answer])
                frequency[relation, inverse][index[answer]] += name == "train"
    test = read_rows(folder / "test.tsv")
    asked = {entity: row for row, entity in enumerate(sorted({end for head, _, tail in test for end in (head, tail)}))}
    of_asked = [index[entity] for entity in asked]
    letters = trigram_matrix([row[1] for row in entities])
    texts = trigram_matrix([f"{row[1]} {row[2]}" for row in entities])
    alike = {"letters": letters[of_asked] @ letters.T, "texts": texts[of_asked] @ texts.T}  # each [queries, E]
    inverse_ranks: dict[str, list[float]] = defaultdict(list)
    for head, relation, tail in test:
        for query, answer, inverse in ((head, tail, False), (tail, head, True)):
            often = frequency[relation, inverse]
            # 1e9 away from an unseen answer: one of the wrong type never wins by its letters.
            seen = np.where(often > 0, 0.1 * np.log1p(often), -1e9)
            scores = {"frequency": often}
            scores |= {name: cosines[asked[query]] for name, cosines in alike.items()}
            scores |= {f"{name} + frequency": scores[name] + seen for name in alike}
            known = [other for other in answers[query, relation, inverse] if other != index[answer]]
            for name, score in scores.items():
                others = np.delete(score, [*known, index[answer]])
                mine = score[index[answer]]
                rank = 1 + np.sum(others > mine + 1e-9) + np.sum(np.abs(others - mine) <= 1e-9) / 2
                inverse_ranks[name].append(1 / float(rank))
    return {name: float(np.mean(values)) for name, values in inverse_ranks.items()}


# ---- the folder


def table(rows: Iterable[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def build(folder: Path) -> None:
    """Write the graph and its SOURCE.md; the same bytes for the same Babel."""
    entities, triples = read_graph()
    forbidden = forbidden_names(entities, triples)
    texts = {key: describe(entity, forbidden[key]) for key, entity in entities.items()}
    parts = split(triples)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"entities.tsv": table((key, entity.name, texts[key]) for key, entity in entities.items())}
    files["relations.tsv"] = table(RELATIONS.items())
    files |= {f"{name}.tsv": table(parts[name]) for name in SPLITS}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    source = source_text(entities, texts, parts, baseline(folder))
    (folder / "SOURCE.md").write_text(source, encoding="utf-8", newline="\n")


def versions() -> str:
    """The line of SOURCE.md that says what the folder was built from."""
    return f"Babel {babel.__version__}, CLDR {get_global('cldr').get('version', 'unknown')}"


def source_text(
    entities: dict[str, Entity], texts: dict[str, str], parts: dict[str, list[Triple]], scores: dict[str, float]
) -> str:
    kinds = Counter(key.split(":")[0] for key in entities)
    relations = {name: Counter(relation for _, relation, _ in parts[name]) for name in SPLITS}
    lengths = sorted(len(text.split()) for text in texts.values())
    degree = Counter(end for name in SPLITS for head, _, tail in parts[name] for end in (head, tail))
    named = sum(
        bool(leaks(entities[one].name, {" ".join(words(entities[other].core))}))
        or bool(leaks(entities[other].name, {" ".join(words(entities[one].core))}))
        for part in parts.values()
        for one, _, other in part
    )
    return SOURCE.format(
        versions=versions(),
        kinds="\n".join(f"| {kind} | {count:,} |" for kind, count in sorted(kinds.items())),
        entities=f"{len(entities):,}",
        relations="\n".join(
            f"| `{key}` | {text} | " + " | ".join(f"{relations[name][key]:,}" for name in SPLITS) + " |"
            for key, text in RELATIONS.items()
        ),
        totals=" | ".join(f"{len(parts[name]):,}" for name in SPLITS),
        mean=f"{sum(lengths) / len(lengths):.1f}",
        spread=", ".join(str(lengths[round(share * (len(lengths) - 1))]) for share in (0, 0.05, 0.5, 0.95, 1)),
        singles=f"{sum(count == 1 for count in degree.values()):,}",
        latin=sum(count["script"] for count in relations.values()),
        latin_share=sum(triple[1:] == ("script", "script:Latn") for part in parts.values() for triple in part),
        named=f"{named:,}",
        scores="\n".join(f"| {name} | {score:.3f} |" for name, score in scores.items()),
        seed=SEED,
        speakers=MIN_SPEAKERS,
        containment=CONTAINMENT_SOURCE,
        notice=(Path(babel.__file__).parent / "locale-data" / "LICENSE.unicode").read_text(encoding="utf-8").strip(),
    )


def show(folder: Path, count: int) -> None:
    """Print random entities and triples, to be read by a person."""
    entities = read_rows(folder / "entities.tsv")
    names = {row[0]: row[1] for row in entities}
    texts = dict(read_rows(folder / "relations.tsv"))
    triples = [triple for name in SPLITS for triple in read_rows(folder / f"{name}.tsv")]
    for row in random.sample(entities, count):
        print(" | ".join(row))
    for head, relation, tail in random.sample(triples, count):
        print(f"{names[head]} -- {texts[relation]} --> {names[tail]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the six files are written (or read from)")
    parser.add_argument("--baseline", action="store_true", help="score the shallow baselines on a built folder")
    parser.add_argument("--show", type=int, metavar="N", help="print N random entities and triples of a built folder")
    options = parser.parse_args()
    if options.baseline:
        for name, score in baseline(options.folder).items():
            print(f"{name:24}{score:.4f}")
    elif options.show:
        show(options.folder, options.show)
    else:
        build(options.folder)


if __name__ == "__main__":
    main()
