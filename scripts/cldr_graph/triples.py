"""Reads the triples of territories, languages, scripts, currencies, time zones and regions from CLDR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from babel.core import get_global

from cldr_graph.containment import CONTAINMENT
from cldr_graph.names import ENGLISH, english_city, likely, words

Triple = tuple[str, str, str]
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
