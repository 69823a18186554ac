"""Chains of a search: dotted settings over its baseline, what they mean, and what of them is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.draft import CHAIN_KEYS, build_chain
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.search import SearchConfig

STUDENTS = "students."
"""Start of a searched setting that every student gets and the teacher not, so that chains share the teacher."""
KEPT = 20_000
"""Chains kept by a process: drawing asks for the same ones again and again."""


def chain_of(search: SearchConfig, settings: Mapping[str, Any]) -> ChainConfig:
    """The chain of dotted settings over the baseline, with the search's seed.

    Raises:
        SpecError: it cannot be built.
    """
    return _built(_drafts(search, settings), search.name)


def confirmed_chain(search: SearchConfig, settings: Mapping[str, Any]) -> ChainConfig:
    """The chain of dotted settings as the confirmation trains it; its study lays each of its seeds over it.

    Raises:
        SpecError: it cannot be built.
    """
    return chain_of(search, {**settings, **search.confirm.settings})


def meaning_of(search: SearchConfig, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Equal for settings whose chains train the same stages.

    Raises:
        SpecError: the chain cannot be built.
    """
    return _meaning(_drafts(search, settings), search.name, as_read=False)


def read_of(search: SearchConfig, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """As `meaning_of`, without the feature loss of grades in which it looks at nothing.

    Raises:
        SpecError: the chain cannot be built.
    """
    return _meaning(_drafts(search, settings), search.name, as_read=True)


def reads_feature(grade: GradeConfig) -> bool:
    """Whether its feature loss finds anything to look at; at mask rate 0 the masked tokens are none."""
    feature = grade.loss.feature
    anywhere = not feature.looks_at_tokens or getattr(feature, "feature", None) == "sequence"
    return grade.mask.rate > 0.0 or anywhere or getattr(feature, "when_unmasked", "nowhere") != "nowhere"


def values_at(chain: ChainConfig, key: str) -> list[Any]:
    """What a chain has at a dotted setting, in each grade that it addresses; of all grades, the students.

    Raises:
        KeyError: no chain has such a setting, or this one no such grade.
    """
    head, _, rest = key.partition(".")
    if head in CHAIN_KEYS:
        return [_inside(chain.model_dump(mode="json"), key)]
    grades = list(chain.grades[1:] or chain.grades)
    if head == "grades":
        name, _, rest = rest.partition(".")
        grades = grades if name == "*" else [grade for grade in chain.grades if grade.name == name]
    elif f"{head}." != STUDENTS:
        rest = key
    if not grades or not rest:
        raise KeyError(key)
    return [_inside(grade.model_dump(mode="json"), rest) for grade in grades]


def is_one_of(value: Any, legal: tuple[Any, ...]) -> bool:
    """Whether a chain's value is listed; a loss may be listed by its name."""
    if isinstance(value, dict) and value.get("name") in [name for name in legal if isinstance(name, str)]:
        return True
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in legal)


def _drafts(search: SearchConfig, settings: Mapping[str, Any]) -> str:
    return json.dumps([*search.drafts, dict(settings), {"seed": search.seed}], default=str)


def _inside(section: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(section, dict):
            raise KeyError(path)
        section = section[part]
    return section


@lru_cache(maxsize=KEPT)
def _built(drafts: str, source: str) -> ChainConfig:
    return build_chain(json.loads(drafts), source=source)


@lru_cache(maxsize=KEPT)
def _meaning(drafts: str, source: str, *, as_read: bool) -> tuple[str, ...]:
    chain = _built(drafts, source)
    return tuple(meaning(_as_read(chain) if as_read else chain))


def _as_read(chain: ChainConfig) -> ChainConfig:
    def without_feature(grade: GradeConfig) -> GradeConfig:
        return grade.model_copy(update={"loss": grade.loss.model_copy(update={"beta": 0.0})})

    grades = tuple(grade if reads_feature(grade) else without_feature(grade) for grade in chain.grades)
    return chain.model_copy(update={"grades": grades})
