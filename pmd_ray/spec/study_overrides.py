"""What `--set` says of an ablation file: parts of the file are replaced, settings are laid over those of the file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from pmd_ray.spec.chain_file import parse_override
from pmd_ray.spec.errors import SpecError, nearest
from pmd_ray.spec.presets import Draft
from pmd_ray.spec.variants import FROM, level_name


@dataclass
class Overrides:
    """Drafts that come after those of the file, in the order of the command line."""

    settings: list[Draft] = field(default_factory=list)
    """Over the baseline and the file's `settings`."""
    variants: dict[str, list[Draft]] = field(default_factory=dict)
    """Over a variant's own difference."""
    left_out: set[str] = field(default_factory=set)
    """Variants taken out, as in `variants.NAME=null`: questions lose their pairs with them."""


def lay_over(given: dict[str, Any], texts: Sequence[str], keys: Collection[str], errors: list[str]) -> Overrides:
    """Read every `KEY=VALUE`; parts of the file are replaced in `given`, the rest is returned.

    Args:
        keys: Of an ablation file. What starts with another one is a setting of the baseline.
    """
    over = Overrides()
    for text in texts:
        try:
            ((key, value),) = parse_override(text).items()
        except SpecError as error:
            errors += error.errors
            continue
        head, _, rest = key.partition(".")
        inline = head == "settings" or (head == "baseline" and isinstance(given.get("baseline"), dict))
        match head:
            case _ if head not in keys:
                over.settings.append({key: value})
            case _ if rest and inline:
                over.settings.append({rest: value})
            case "variants" if rest:
                _variant(given, over, rest, value, errors)
            case "factors" if rest.count(".") > 1:
                _level(given, rest, value, errors)
            case _:
                _replace(given, key, value, errors)
    return over


def _variant(given: dict[str, Any], over: Overrides, rest: str, value: Any, errors: list[str]) -> None:
    """`variants.NAME=...` replaces, adds or (null) takes out; `variants.NAME.KEY=...` changes one setting."""
    name, _, key = rest.partition(".")
    variants = given.setdefault("variants", {})
    if not isinstance(variants, dict):
        errors.append(f"--set variants.{rest}: variants holds no names")
        return
    known = {str(there): there for there in variants}
    if name not in known and (key or value is None):
        errors.append(f"--set variants.{rest}: no variant '{name}'{nearest(name, known)}")
    elif not key:
        over.variants.pop(name, None)
        if value is None:
            over.left_out.add(name)
            del variants[known[name]]
        else:
            over.left_out.discard(name)
            variants[known.get(name, name)] = value
    elif key == FROM and isinstance(variants[known[name]], dict):
        variants[known[name]] = {**variants[known[name]], FROM: value}
    else:
        over.variants.setdefault(name, []).append({key: value})


def _level(given: dict[str, Any], rest: str, value: Any, errors: list[str]) -> None:
    """`factors.FACTOR.LEVEL.KEY=...` changes one setting of a level."""
    factor, name, key = rest.split(".", 2)
    factors = given.get("factors")
    levels = factors.get(factor) if isinstance(factors, dict) else None
    named = {level_name(level): level for level in levels} if isinstance(levels, dict) else {}
    if levels is None or name not in named:
        errors.append(f"--set factors.{rest}: no level '{name}' of a factor '{factor}'{nearest(name, named)}")
        return
    levels[named[name]] = {**(levels[named[name]] or {}), key: value}


def _replace(given: dict[str, Any], key: str, value: Any, errors: list[str]) -> None:
    """Set a part of the file by its path; settings to be tuned (`roles.nuisance`) are dotted themselves."""
    dotted = "roles.nuisance."
    parts = ["roles", "nuisance", key.removeprefix(dotted)] if key.startswith(dotted) else key.split(".")
    place: Any = given
    for part in parts[:-1]:
        below = place.setdefault(part, {})
        if not isinstance(below, dict):
            errors.append(f"--set {key}: '{part}' holds no settings; give it whole, as in --set {part}=...")
            return
        place = below
    place[parts[-1]] = value
