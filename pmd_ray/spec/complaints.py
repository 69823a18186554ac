"""Finds every broken rule of a chain and says it in the user's words: where it was set, the rule, the value.

Rules between fields run only where all fields are well. So what is broken is set aside, its default stands in, and the
rest is validated again, until nothing new is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pmd_ray.spec import plugins
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.errors import nearest
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.loss import LossOptions

Path = tuple[str, ...]
Origins = dict[str, dict[Path, str]]
"""For each grade, how each of its values was addressed: "" (for all), "mask_rates", "grades.*" or "grades.6"."""

RULES = {
    "model_type": "must be settings, as in {key: value}",
    "dict_type": "must be settings, as in {key: value}",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list, as in [a, b]",
    "finite_number": "must be finite",
}
"""What pydantic says in the words of its types."""


def validate_chain(given: dict[str, Any], origins: Origins) -> tuple[ChainConfig | None, list[str]]:
    """The chain, or None and one line for each broken rule."""
    left = deepcopy(given)
    names = [str(grade["name"]) for grade in given["grades"]]
    lines: list[str] = []
    aside: set[Path] = set()
    while True:
        try:
            chain = ChainConfig.model_validate(left)
        except ValidationError as error:
            found = _by_place(error.errors(include_url=False), left)
        else:
            return (None if lines else chain), lines
        for place, broken in found.items():
            if not _follows_from(place, aside):
                where = _where(place, names, origins)
                lines += [line for what in _what(place, broken) if (line := f"{where}{what}") not in lines]
        unknown = {place for place, broken in found.items() if broken[0]["type"] == "extra_forbidden"}
        if not [place for place in found if _set_aside(place, left, aside, compared=place not in unknown)]:
            return None, lines


def elsewhere(key: str) -> str:
    """Return ``"; did you mean 'optimiser.lr'?"`` for a key of some section, or an empty string."""
    legal = [".".join((*path, key)) for path, model in sections() if path and key in model.model_fields]
    return f"; did you mean {' or '.join(repr(path) for path in legal)}?" if legal else ""


def sections() -> Iterator[tuple[Path, type[BaseModel]]]:
    """Every section of a chain and of one of its grades, with its model; losses with the options of the default."""
    for root in (ChainConfig, GradeConfig):
        yield from _sections_of(root, ())


def _sections_of(model: type[BaseModel], path: Path) -> Iterator[tuple[Path, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        if inner is LossOptions:
            yield (*path, name), options_of(field.default)
        elif inner is not None and inner is not GradeConfig:
            yield from _sections_of(inner, (*path, name))


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_of(inner))), None)


def options_of(loss: str) -> type[LossOptions]:
    """The model of a loss's options."""
    options: type[LossOptions] = plugins.load("loss", loss).Options
    return options


def _by_place(errors: Iterable[ErrorDetails], given: Any) -> dict[Path, list[ErrorDetails]]:
    """Errors by where they are, without the tags that pydantic adds to locations inside unions."""
    found: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        place: list[str] = []
        value = given
        for part in error["loc"]:
            if isinstance(part, str) and not isinstance(value, dict):
                continue
            inside = part in value if isinstance(value, dict) else isinstance(value, list) and int(part) < len(value)
            value = value[part] if inside else None
            place.append(str(part))
        found.setdefault(tuple(place), []).append(error)
    found.pop(("grades",), None)  # "too few" of them, said where one of them is broken
    # A list was meant: that it is no text either need not be said.
    deeper = {place[:-1] for place in found}
    return {p: e for p, e in found.items() if not (p in deeper and all(x["type"] == "string_type" for x in e))}


def _follows_from(place: Path, aside: set[Path]) -> bool:
    """Whether a rule may be broken only because a value that it compares was set aside."""
    if not place:
        return any(gone[2:] in (("layers",), ("teacher",)) for gone in aside)
    return any(gone[:-1] == place for gone in aside)


def _set_aside(place: Path, given: dict[str, Any], aside: set[Path], *, compared: bool) -> bool:
    """Take what is broken out of `given`; False where it cannot be. `compared`: other rules may read it."""
    if len(place) == 2 and place[0] == "grades":
        place = (*place, "init")  # the only section that a grade's own rule compares with its layers
    holder: Any = given
    for depth, part in enumerate(place):
        inner = holder[int(part)] if isinstance(holder, list) else holder.get(part)
        is_last = depth == len(place) - 1 or not isinstance(inner, dict | list)
        if is_last or (isinstance(inner, list) and part != "grades"):
            if not isinstance(holder, dict) or part not in holder or part in ("grades", "name"):
                return False
            if part == "layers" and inner == 1:
                return False
            holder.pop(part)
            if place[:1] == ("grades",) and depth == 2 and part == "layers":
                holder["layers"] = 1
            if compared:
                aside.add(place[: depth + 1])
            return True
        holder = inner
    return False


def _where(place: Path, names: list[str], origins: Origins) -> str:
    """The place as whoever set it wrote it."""
    if len(place) < 2 or place[0] != "grades":
        return f"{'.'.join(place)}: " if place else ""
    name, rest = names[int(place[1])], place[2:]
    ways = {way for path, way in origins[name].items() if path[: len(rest)] == rest[: len(path)]}
    personal = f"grades.{name}"
    way = next((way for way in (personal, "grades.*", "mask_rates", "") if way in ways), personal)
    if not rest or way == "mask_rates":
        return f"{way or personal}: "
    return f"{'.'.join((way, *rest) if way else rest)}: "


def _what(place: Path, broken: list[ErrorDetails]) -> list[str]:
    """The rules broken at one place, each with the value and the way out."""
    first = broken[0]
    match first["type"]:
        case "extra_forbidden":
            return [f"unknown key{_known_key(place)}"]
        case "value_error":
            return first["msg"].removeprefix("Value error, ").split("\n")
        case "missing":
            return ["missing"]
    value = repr(first["input"])
    value = value if len(value) <= 80 else f"{value[:77]}..."
    rules = [RULES.get(e["type"]) or re.sub("^Input should( have)?", "must", e["msg"]) for e in broken]
    rule = " or ".join([rules[0], *(rule.removeprefix("must be ") for rule in rules[1:])])
    legal = re.findall("'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
    return [f"{rule}, got {value}{nearest(str(first['input']), legal)}"]


def _known_key(place: Path) -> str:
    """The nearest key that is legal there, or its home in another section."""
    path = place[2:-1] if place[0] == "grades" else place[:-1]
    model = dict(_sections_of(GradeConfig if place[0] == "grades" else ChainConfig, ())).get(path)
    return nearest(place[-1], model.model_fields if model else ()) or elsewhere(place[-1])
