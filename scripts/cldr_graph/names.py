"""Reads names from CLDR, as the Babel package carries it, and says which letters are fit for a vocabulary."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from babel.core import Locale, UnknownLocaleError, get_global

# Names in these languages make the descriptions: Latin script, so that a BERT vocabulary reads them, and well filled in
# CLDR. The order is the order of preference.
# fmt: off
LOCALES = (
    "de", "fr", "es", "fi", "pl", "hu", "tr", "it", "cs", "nl", "sv", "pt", "lt", "ro", "hr", "id", "lv", "et", "sl",
    "ca", "eu", "cy", "da", "is", "nb", "sk", "az", "sq", "gl", "af", "uz", "tk", "br", "eo", "lb", "fy", "ast",
)
# fmt: on


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


def plain(text: str) -> str:
    """Lower case without accents: what an uncased vocabulary sees."""
    return "".join(char for char in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(char))


def latin(text: str) -> bool:
    """Whether all letters are Latin ones that common vocabularies hold: no phonetic signs, no clicks."""
    return all(
        "LATIN" in unicodedata.name(char, "") and (char < "ƀ" or "Ḁ" <= char <= "ỿ") for char in text if char.isalpha()
    )


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
