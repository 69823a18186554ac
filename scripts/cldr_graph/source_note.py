"""Writes SOURCE.md: origin, licence, counts, how the graph is made, baselines, oddities."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import babel
from babel.core import get_global

from cldr_graph.containment import CONTAINMENT_SOURCE
from cldr_graph.describe import leaks
from cldr_graph.entities import Entity
from cldr_graph.names import words
from cldr_graph.split import SEED, SPLITS
from cldr_graph.triples import MIN_SPEAKERS, RELATIONS, Triple

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
