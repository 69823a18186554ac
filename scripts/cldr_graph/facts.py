"""What CLDR says about one entity alone, as clauses in the order of use."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

from babel.core import Locale, get_global

from cldr_graph.names import ENGLISH, clean, latin, likely, locale

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DIGITS = ("no decimals", "one decimal", "two decimals", "three decimals", "four decimals")


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


def territory_locale(code: str) -> Locale | None:
    """The locale of the territory's main language, or English there."""
    tags = likely(f"und_{code}") or ["en", "Latn", code]
    return locale("_".join(tags)) or locale(f"{tags[0]}_{code}") or locale(f"en_{code}")


def region_facts(code: str) -> Iterator[str]:
    yield f"statistical area with code {code}"
    yield "a United Nations grouping of the M49 standard" if code.isdigit() else "a grouping made for locale data"


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
