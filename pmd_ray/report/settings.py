"""The settings in which the chains of a study differ, each as one value: the columns of HPARAMS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.keys import canonical_json, grade_identity
from pmd_ray.spec.study import StudyConfig
from pmd_ray.spec.variants import flattened

Value = str | float | bool | None
FIRST = "first grade: "
"""Before settings of the grade that opens a chain, where they differ."""


def differing(study: StudyConfig) -> dict[tuple[str, str], dict[str, Value]]:
    """By (variant, arm), the value of every setting that is not the same in all of them.

    A setting that all later grades share is one value, else a list such as `9,6,3`, grade by grade. A setting whose
    values are of several kinds is written as text everywhere.
    """
    described = {
        (variant.name, arm.label): described_chain(arm.chain)
        for variant in study.variants
        if variant.alias_of is None
        for arm in variant.arms
    }
    names = dict.fromkeys(name for values in described.values() for name in values)
    kept = [name for name in names if _differs([values.get(name) for values in described.values()])]
    table: dict[tuple[str, str], dict[str, Value]] = {place: {} for place in described}
    for name in kept:
        cells = _alike([values.get(name) for values in described.values()])
        for row, cell in zip(table.values(), cells, strict=True):
            row[name] = cell
    return table


def described_chain(chain: ChainConfig) -> dict[str, Value]:
    """Every setting of a chain but its seed, each as one value."""
    whole = chain.model_dump(mode="json", exclude={"grades", "seed"})
    found: dict[str, Value] = {name: one_value(value) for name, value in flattened(whole).items()}
    found["layers"] = one_value([grade.layers for grade in chain.grades])
    first = flattened(grade_identity(chain.grades[0], taught=False))  # what nothing reads is no difference
    later = [flattened(grade.model_dump(mode="json", exclude={"name", "layers"})) for grade in chain.grades[1:]]
    found |= {f"{FIRST}{name}": one_value(value) for name, value in first.items() if name != "layers"}
    for name in dict.fromkeys(name for grade in later for name in grade):
        values = [grade.get(name) for grade in later]
        found[name] = one_value(values[0] if not _differs(values) else values)
    return found


def one_value(value: Any) -> Value:
    """A value of a configuration as a number, a truth or a word; lists joined by commas."""
    if isinstance(value, list | tuple):
        return ",".join(_word(part) for part in value)
    if value is None or isinstance(value, bool | str):
        return value
    return float(value) if isinstance(value, int | float) else canonical_json(value)


def _word(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return f"{value:g}"
        case str():
            return value
        case list() | tuple():
            return "+".join(_word(part) for part in value)
        case _:
            return canonical_json(value)


def _differs(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values)


def _alike(values: Sequence[Value]) -> list[Value]:
    kinds = {type(value) for value in values}
    return list(values) if len(kinds) == 1 else [_word(value) for value in values]


def difference_text(difference: Mapping[str, Any]) -> str:
    """A variant's difference as its file has it: `loss.beta: 0, layers: [12, 3]`."""
    return ", ".join(f"{name}: {_written(value)}" for name, value in difference.items())


def _written(value: Any) -> str:
    return f"[{', '.join(map(_word, value))}]" if isinstance(value, list | tuple) else _word(value)
