"""What differs between two versions of a search, in the words of its file."""

from __future__ import annotations

from typing import Any

from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.study_changes import changed_lines, flat_settings

FREE = {"about", "budget", "confirm", "nuisance"}
"""Parts that may change between two runs: they decide how long it goes on and what is made of it."""


def search_changes(before: SearchConfig, after: SearchConfig) -> list[str]:
    """One line for each setting that differs, as `space.masks.first: ...`; empty for equal meaning."""
    return changed_lines(_leaves(before), _leaves(after))


def _leaves(search: SearchConfig) -> dict[str, Any]:
    plain = search.model_dump(mode="json", exclude=FREE)
    merged: dict[str, Any] = {}
    for draft in plain.pop("drafts"):
        merged |= flat_settings(draft, "settings")
    return merged | flat_settings(plain, "")
