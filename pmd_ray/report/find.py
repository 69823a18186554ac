"""Finds what an id means: a row of a study's table, or one stage by the beginning of its key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pmd_ray.report.lines import Chain, Line, chains_of
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.study_record import StudyRecord

SHORTEST = 4
"""Digits that an id must have at least."""
HEX = set("0123456789abcdef")
LISTED = 6
"""Candidates that an error names."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A grade of a chain of a study that an id leads to."""

    record: StudyRecord
    chain: Chain
    line: Line


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an id means."""

    id: str
    """The row's id, or the stage's whole key."""
    keys: tuple[tuple[int | None, str], ...]
    """Seed and stage key; the seed is None where no study tells it."""
    places: tuple[Place, ...]
    """Every row of every study that it stands for; empty for a stage that no study uses."""


def find(text: str, records: Sequence[StudyRecord], *, stored: Iterable[str] = (), where: str) -> Found:
    """The row or stage that `text` begins; a row's whole id wins over keys that begin alike.

    Args:
        stored: Keys of a storage, so that stages which no study uses are found too.
        where: Where was looked, for the message.

    Raises:
        UserError: Nothing begins so, or several things do.
    """
    text = text.lower()
    if len(text) < SHORTEST or not set(text) <= HEX:
        raise UserError(f"an id is {SHORTEST} digits or more of 0-9 and a-f, as in the column `id`, got '{text}'")
    rows: dict[str, list[Place]] = {}
    stages: dict[str, list[tuple[int, Place]]] = {key: [] for key in stored}
    for record in records:
        for chain in chains_of(record, lambda key: None):
            for line in chain.lines:
                place = Place(record=record, chain=chain, line=line)
                rows.setdefault(line.id, []).append(place)
                for seed, key in line.keys.items():
                    stages.setdefault(key, []).append((seed, place))
    ids = [text] if text in rows else [name for name in rows if name.startswith(text)]
    keys = [] if text in rows else [key for key in stages if key.startswith(text)]
    if len(ids) + len(keys) > 1:
        raise UserError(f"'{text}' begins {len(ids) + len(keys)} ids; give more digits: {_listed(ids, keys, rows)}")
    if ids:
        places = rows[ids[0]]
        return Found(id=ids[0], keys=tuple(places[0].line.keys.items()), places=tuple(places))
    if keys:
        uses = stages[keys[0]]
        return Found(
            id=keys[0], keys=((uses[0][0] if uses else None, keys[0]),), places=tuple(place for _, place in uses)
        )
    raise UserError(f"no id begins with '{text}' in {where}{_near(text, rows)}")


def described(place: Place) -> str:
    """`no_mgfd 3` with the arm where there is one."""
    arm = f" ({place.chain.arm})" if place.chain.arm else ""
    return f"{place.line.variant} {place.line.grade}{arm}"


def _listed(ids: Sequence[str], keys: Sequence[str], rows: dict[str, list[Place]]) -> str:
    named = [f"{name} ({described(rows[name][0])})" for name in ids] + [f"{key[:16]} (a stage)" for key in keys]
    more = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
    return ", ".join(named[:LISTED]) + more


def _near(text: str, rows: dict[str, list[Place]]) -> str:
    if not rows:
        return ""
    near = get_close_matches(text, rows, n=3, cutoff=0.5)
    told = [f"{name} ({described(rows[name][0])})" for name in near or list(rows)[:3]]
    return f"; {'near are' if near else 'there are'} {', '.join(told)}{'' if near else ', ...'}"
