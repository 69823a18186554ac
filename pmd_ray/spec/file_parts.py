"""What ablation and search files have in common: where they lie, keys, name, baseline, settings, sections as types."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pmd_ray.spec.chain_file import exists_as, find_chain, read_draft
from pmd_ray.spec.complaints import RULES
from pmd_ray.spec.draft import DRAFT_KEYS
from pmd_ray.spec.errors import SpecError, UserError, nearest
from pmd_ray.spec.presets import Draft
from pmd_ray.spec.variants import NAME

Part = TypeVar("Part", bound=BaseModel)


def shipped_in(folder: Path) -> list[str]:
    """Names of the YAML files of a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_file(name: str, shipped: Path, *, noun: str) -> Path:
    """The file of that path, or the shipped one of that name (`FOLDER/NAME.yaml` works for both).

    Args:
        shipped: The folder of the package with files of the kind.
        noun: What the kind is called: "ablation", "search".

    Raises:
        UserError: there is neither.
    """
    path = Path(name)
    if exists_as(path, Path.is_file):
        return path
    plain = path.stem if path.suffix in ("", ".yaml", ".yml") else name
    names = shipped_in(shipped)
    if plain in names and path.parent in (Path(), Path(shipped.name)):
        return shipped / f"{plain}.yaml"
    if exists_as(path, Path.is_dir):
        raise UserError(f"'{name}' is a folder; give the {noun} file in it")
    raise UserError(
        f"no {noun} file '{name}'; give a path or a shipped one ({', '.join(names)}){nearest(plain, names)}"
    )


def unknown_keys(given: Mapping[str, Any], keys: Collection[str]) -> list[str]:
    """A complaint for each key that such a file does not have."""
    errors = []
    for key in given:
        if key in keys:
            continue
        hint = nearest(str(key), keys)
        if not hint and str(key).partition(".")[0] in DRAFT_KEYS:
            hint = "; a setting of the chains goes under settings"
        errors.append(f"{key}: unknown key{hint} (keys: {', '.join(keys)})")
    return errors


def name_of(given: Mapping[str, Any], path: Path, errors: list[str]) -> str | None:
    """What the file calls itself, by default its own name; None, and why in `errors`, where that names no folder."""
    name = given.get("name", path.stem)
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    errors.append(f"name: must be letters, digits and _ . = , - (it names a folder), got {name!r}")
    return None


def about_of(given: Mapping[str, Any]) -> str:
    """What the file says of itself, in one line."""
    return " ".join(str(given.get("about") or "").split())


def baseline_of(given: Mapping[str, Any], path: Path, errors: list[str]) -> list[Draft]:
    """The chain from which everything differs, as one draft; none, and why in `errors`, where there is no such chain.

    Args:
        given: Its `baseline` is a shipped chain, a preset, a chain file or settings.
        path: Of the file: chain files are sought beside it first.
    """
    baseline = given.get("baseline")
    if isinstance(baseline, dict):
        return [baseline]
    if not isinstance(baseline, str):
        errors.append("baseline: missing; name a chain (demo), a preset (pmd_code) or a chain file")
        return []
    beside = path.parent / baseline
    try:
        found = beside if exists_as(beside, Path.is_file) else find_chain(baseline)
        return [{"preset": baseline}] if found is None else [read_draft(found)]
    except SpecError as error:
        errors += [f"baseline: {line}" for line in error.errors]
    except UserError as error:
        errors.append(f"baseline: {error}")
    return []


def settings_of(given: Mapping[str, Any], errors: list[str]) -> list[Draft]:
    """The file's `settings` as one draft; none where it has none."""
    settings = given.get("settings")
    if isinstance(settings, dict):
        return [settings]
    if settings is not None:
        errors.append("settings: must map settings to values, as in {optimiser.epochs: 3}")
    return []


def said(error: ValidationError, where: str, model: type[BaseModel]) -> list[str]:
    """Broken rules of a section in the user's words."""
    lines = []
    for found in error.errors(include_url=False):
        place = ".".join([where, *map(str, found["loc"])])
        match found["type"]:
            case "extra_forbidden":
                what = f"unknown key{nearest(str(found['loc'][-1]), model.model_fields)}"
            case "value_error":
                what = found["msg"].removeprefix("Value error, ")
            case kind:
                what = f"{RULES.get(kind) or found['msg'].replace('Input should', 'must')}, got {found['input']!r}"
        lines.append(f"{place}: {what}")
    return lines


def section_of(
    given: Any,
    where: str,
    model: type[Part],
    *,
    errors: list[str],
    words: Callable[[ValidationError, str, type[BaseModel]], list[str]] = said,
) -> Part | None:
    """A section of the file, or None and why not in `errors`; what is not given is the default.

    Args:
        where: Its key.
        words: What says the broken rules.
    """
    try:
        return model.model_validate({} if given is None else given)
    except ValidationError as error:
        errors += words(error, where, model)
        return None
