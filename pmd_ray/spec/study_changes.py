"""What differs between two versions of a study, in the words of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pmd_ray.spec.study import StudyConfig

SHOWN_AT_MOST = 12


def changes(before: StudyConfig, after: StudyConfig) -> list[str]:
    """One line for each setting that differs, as `variants.no_mgfd.loss.beta: 0.1 -> 0.2`; empty for equal meaning."""
    return changed_lines(_leaves(before), _leaves(after))


def changed_lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for each place whose value differs, at most a dozen."""
    lines = []
    for place in sorted(old.keys() | new.keys()):
        if place not in new:
            lines.append(f"{place}: {old[place]} -> gone")
        elif place not in old:
            lines.append(f"{place}: new, {new[place]}")
        elif old[place] != new[place]:
            lines.append(f"{place}: {old[place]} -> {new[place]}")
    more = len(lines) - SHOWN_AT_MOST
    return [*lines[:SHOWN_AT_MOST], f"... and {more} more"] if more > 0 else lines


def _leaves(study: StudyConfig) -> dict[str, Any]:
    """Settings by where they are; of a variant, its chains count, not how the difference is written."""
    plain = study.model_dump(mode="json", exclude={"about", "budget"})
    for variant in plain["variants"]:
        for part in ("difference", "parent"):
            del variant[part]
        for arm in variant["arms"]:
            del arm["chain"]["seed"]
            arm["chain"]["grades"] = {grade.pop("name"): grade for grade in arm["chain"]["grades"]}
        variant["arms"] = {arm["label"] or "chain": arm["chain"] for arm in variant["arms"]}
    plain["variants"] = {variant.pop("name"): variant for variant in plain["variants"]}
    return flat_settings(plain, "")


def flat_settings(value: Any, path: str) -> dict[str, Any]:
    """Nested settings by dotted place."""
    if isinstance(value, dict) and value:
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= flat_settings(inner, f"{path}.{key}" if path else str(key))
        return found
    return {path.replace(".arms.chain.", "."): value}
