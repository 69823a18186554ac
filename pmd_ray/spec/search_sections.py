"""Sections of a search file as types, with every broken rule in the user's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pmd_ray.spec.complaints import RULES
from pmd_ray.spec.errors import nearest
from pmd_ray.spec.file_parts import Part, said, section_of
from pmd_ray.spec.search import Choice, LayerSpace, MaskSpace, SettingSpace, SpaceConfig, Span, Steps, WeightSpace

PARTS = {"layers": LayerSpace, "masks": MaskSpace, "weights": WeightSpace}
FORMS: dict[str, type[BaseModel]] = {"choice": Choice, "steps": Steps, "span": Span}
VALUES_FORM = "must be a list of values or a range, as in [0.1, 0.2], {low: 0.0, high: 0.3, step: 0.05}"


def section(given: Any, where: str, model: type[Part], errors: list[str]) -> Part | None:
    """A section of the file, or None and why not in `errors`; what is not given is the default."""
    return section_of(given, where, model, errors=errors, words=told)


def space_of(given: Any, errors: list[str]) -> SpaceConfig | None:
    """The space of a file, settings in either of their two forms."""
    if given is None or given == {}:
        errors.append(
            "space: missing or empty; say what may vary under layers, masks, weights or settings, as in "
            "space: {masks: {first: [0.1, 0.2, 0.3]}}"
        )
        return None
    if not isinstance(given, dict):
        errors.append(f"space: must map layers, masks, weights or settings to what they may be, got {given!r}")
        return None
    errors += [f"space.{key}: unknown key{_part_of(str(key))}" for key in given if key not in SpaceConfig.model_fields]
    read: dict[str, Any] = {
        key: section(given[key], f"space.{key}", model, errors)
        for key, model in PARTS.items()
        if given.get(key) is not None
    }
    settings = given.get("settings") or {}
    if not isinstance(settings, dict):
        errors.append(f"space.settings: must map settings to values, as in {{optimiser.lr: [...]}}, got {settings!r}")
        settings = {}
    entries = {str(key): _entry(str(key), value, errors) for key, value in settings.items() if value is not None}
    read["settings"] = {key: entry for key, entry in entries.items() if entry is not None}
    space = SpaceConfig(**read)
    if not errors and space == SpaceConfig():
        return space_of(None, errors)
    return space


def told(error: ValidationError, where: str, model: type[BaseModel]) -> list[str]:
    """As `said`, for sections that hold values: without pydantic's names of their forms."""
    plain, lines = list[ErrorDetails](), list[str]()
    for found in error.errors(include_url=False):
        forms = [part for part in found["loc"] if part in FORMS]
        if not forms:
            plain.append(found)
            continue
        place = ".".join([where, *(str(part) for part in found["loc"] if part not in (*FORMS, "choices"))])
        lines.append(f"{place}: {_rule(found, FORMS[str(forms[0])])}")
    if plain:
        rest = ValidationError.from_exception_data(model.__name__, [_again(found) for found in plain])
        lines = [line.replace("Field required", "is missing") for line in said(rest, where, model)] + lines
    return lines


def _entry(key: str, given: Any, errors: list[str]) -> SettingSpace | None:
    if not isinstance(given, dict) or not given.keys() & {"values", "when"}:
        given = {"values": given}
    when = given.get("when")
    if isinstance(when, dict):
        listed = {name: one if isinstance(one, list) else [one] for name, one in when.items()}
        given = {**given, "when": listed}
    return section(given, f"space.settings.{key}", SettingSpace, errors)


def _part_of(key: str) -> str:
    """Where a key belongs that is none of the space's."""
    hint = nearest(key, SpaceConfig.model_fields)
    if not hint and "." in key:
        hint = f"; a setting goes under space.settings, as in settings: {{{key}: [...]}}"
    return hint or f" (keys: {', '.join(SpaceConfig.model_fields)})"


def _rule(found: ErrorDetails, model: type[BaseModel]) -> str:
    match found["type"]:
        case "extra_forbidden":
            legal = [name for form in (Steps, Span) for name in form.model_fields]
            return f"unknown key{nearest(str(found['loc'][-1]), legal)} (keys of a range: low, high, step, log, whole)"
        case "value_error":
            return found["msg"].removeprefix("Value error, ")
        case "missing":
            return "missing; a range has low and high"
        case "model_type":
            return f"{VALUES_FORM}, got {found['input']!r}"
        case "too_short":
            return "must list one value or more, got []"
        case kind:
            return f"{RULES.get(kind) or found['msg'].replace('Input should', 'must')}, got {found['input']!r}"


def _again(found: ErrorDetails) -> Any:
    """An error as pydantic takes it back."""
    again: Mapping[str, Any] = found
    return {key: again[key] for key in ("type", "loc", "input", "ctx") if key in again}
