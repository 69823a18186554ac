"""Writes docs/factors.md: every field of a chain, its options, default, each preset's value and source.

Run `python scripts/write_factors.py` after a field or its description changed; a test compares the committed file.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pmd_ray.spec import plugins
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.complaints import options_of
from pmd_ray.spec.draft import SHORTHANDS
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.loss import LossOptions
from pmd_ray.spec.presets import PRESETS

TARGET = Path(__file__).resolve().parents[1] / "docs" / "factors.md"
SAME = "·"
"""In a preset's column: the default."""

ROLES = {"loss.score": "score", "loss.feature": "feature"}
PLUGINS: dict[str, plugins.Kind] = {
    "mask.policy": "mask policy",
    "teacher": "teacher choice",
    "init.layer_map": "layer map",
}
BESIDES = {
    "teacher": "or an earlier grade's name",
    "init.layer_map": "or a list of layers",
    "init.source": "`encoder`, `teacher`, or a model by name or folder",
    "mask.rate": "number >= 0, < 1",
}

INTRODUCTION = f"""# Every factor of a chain

Written by `scripts/write_factors.py` from the fields' own descriptions; do not edit by hand.

A field of a grade is set for all grades (`--set mask.rate=0.1`), which for `mask.rate` and `teacher` means those that
have a teacher; for all as `--set grades.*.mask.rate=0.1`; or for one as `--set grades.6.mask.rate=0.1`. Later settings
win. In a preset's column `{SAME}` is the default and `a / b` goes from grade to grade, the teacher first.
"""


class Factor(NamedTuple):
    """One row."""

    path: str
    options: str
    default: str
    presets: tuple[str, ...]
    meaning: str
    source: str


def factor_table() -> list[Factor]:
    """Every field, those of a draft alone first, then the chain's, then a grade's."""
    rows = [
        Factor(key, _shorthand_options(key), "", tuple(_preset_shorthand(p, key) for p in PRESETS), *_split(text))
        for key, text in SHORTHANDS.items()
    ]
    rows += [_factor(path, field, of_grade=False) for path, field in _fields(ChainConfig) if path != "grades"]
    rows += [_factor(path, field, of_grade=True) for path, field in _fields(GradeConfig) if path != "name"]
    return rows


def _fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The leaves of a model; those of a loss for every loss of that role."""
    for name, field in model.model_fields.items():
        here = f"{path}{name}"
        inner = _section(field.annotation)
        if inner is None:
            yield here, field
        elif inner is LossOptions:
            yield here, field
            for loss in _losses(ROLES[here]):
                for option, described in options_of(loss).model_fields.items():
                    if option != "name":
                        yield f"{here}.{option}" if loss == field.default else f"{here}.{option} ({loss})", described
        elif inner is GradeConfig:
            yield here, field
        else:
            if field.default is None:
                yield here, field
            yield from _fields(inner, f"{here}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _section(inner))), None)


def _losses(role: str) -> list[str]:
    return [name for name in plugins.names("loss") if role == plugins.load("loss", name).ROLE]


def _factor(path: str, field: FieldInfo, *, of_grade: bool) -> Factor:
    default = "" if field.is_required() else _shown(field.default)
    values = [_preset_value(preset, path, of_grade=of_grade) for preset in PRESETS]
    presets = tuple(SAME if value in (default, None) else str(value) for value in values)
    return Factor(
        "grades.NAME.layers" if path == "layers" else path,
        _options(path, field),
        default,
        presets,
        *_split(field.description or ""),
    )


def _options(path: str, field: FieldInfo) -> str:
    if path in PLUGINS:
        return ", ".join([*map(_code, plugins.names(PLUGINS[path])), BESIDES.get(path, "")]).removesuffix(", ")
    if path in ROLES:
        return ", ".join(map(_code, _losses(ROLES[path])))
    if path in BESIDES:
        return BESIDES[path]
    bounds = "".join(f", {sign} {limit}" for sign, limit in _bounds(field))
    return _kind(field.annotation) + bounds


def _bounds(field: FieldInfo) -> Iterator[tuple[str, float]]:
    signs: dict[type, tuple[str, str]] = {
        annotated_types.Ge: (">=", "ge"),
        annotated_types.Gt: (">", "gt"),
        annotated_types.Le: ("<=", "le"),
        annotated_types.Lt: ("<", "lt"),
    }
    for rule in field.metadata:
        if type(rule) in signs:
            sign, name = signs[type(rule)]
            yield sign, getattr(rule, name)


def _kind(annotation: Any) -> str:
    plain = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`", type(None): "`null`"}
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(_code(value) for value in parts)
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(map(_kind, parts))
    if get_origin(annotation) is tuple:
        return f"list of {_kind(parts[0])}"
    return plain.get(annotation, "settings")


@cache
def _chain(preset: str) -> ChainConfig:
    return load_chain(preset)


def _preset_value(preset: str, path: str, *, of_grade: bool) -> str | None:
    """What the preset's chain says there; None where its loss has no such option."""
    chain = _chain(preset)
    if not of_grade:
        return _at(chain, path)
    if path == "layers":
        return " / ".join(str(grade.layers) for grade in chain.grades)
    values = [value for grade in chain.grades if (value := _at(grade, path)) is not None]
    return values[0] if len(set(values)) == 1 else " / ".join(values) or None


def _at(model: Any, path: str) -> str | None:
    path, _, loss = path.partition(" (")
    for part in path.split("."):
        model = getattr(model, part, None)
        if isinstance(model, LossOptions) and loss and model.name != loss.removesuffix(")"):
            return None
    return None if model is None else _shown(model)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "`null`"
        case LossOptions():
            return _code(value.name)
        case tuple():
            return "[" + ", ".join(map(str, value)) + "]"
        case _:
            return _code(value)


def _code(value: Any) -> str:
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _shorthand_options(key: str) -> str:
    return {"preset": ", ".join(map(_code, PRESETS)), "layers": "list of whole numbers"}.get(key, "list of numbers")


def _preset_shorthand(preset: str, key: str) -> str:
    chain = _chain(preset)
    return {
        "preset": preset,
        "layers": _shown(tuple(grade.layers for grade in chain.grades)),
        "mask_rates": _shown(tuple(grade.mask.rate for grade in chain.grades[1:])),
    }[key]


def _split(description: str) -> tuple[str, str]:
    """Meaning and source, each in one line."""
    meaning, _, source = " ".join(description.split()).partition("Source: ")
    return meaning.strip(), source.removesuffix(".").strip()


def render(rows: list[Factor]) -> str:
    """The table as Markdown."""
    head = ["factor", "options", "default", *PRESETS, "meaning", "source"]
    lines = [INTRODUCTION, _row(head), _row(["---"] * len(head))]
    lines += [_row([_code(row.path), row.options, row.default, *row.presets, row.meaning, row.source]) for row in rows]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(render(factor_table()), encoding="utf-8")
