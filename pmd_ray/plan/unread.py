"""Settings of a variant that change nothing: taken back one at a time, the chain means the same (its stage keys)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.study import BASELINE, StudyConfig
from pmd_ray.spec.variants import touched

SHAPES = ("preset", "layers", "grades", "name", "seed")
"""Settings that a written-out chain has no single place for, or that are read always."""
ABSENT = object()


def unread_settings(study: StudyConfig) -> Iterator[tuple[str, str, bool]]:
    """Variant, setting, and whether the baseline says the same already; cells of a product are left out.

    Cells write their levels out, equal to the baseline or not, and are told as merged where they mean the same.
    """
    baseline = study.variants[0]
    for variant in study.variants:
        if variant.name == BASELINE or variant.factors or variant.alias_of is not None:
            continue
        chains = [arm.chain for arm in variant.arms]
        reshaped = _shape(chains[0]) != _shape(baseline.arms[0].chain)
        for key in variant.difference:
            # Rates are a list by place: without them, a chain of other grades would have the preset's.
            if touched(key).partition(".")[0] in SHAPES or (reshaped and key == "mask_rates"):
                continue
            arms = zip(chains, (arm.chain for arm in baseline.arms), strict=True)
            before = [taken_back(ours, theirs, key) for ours, theirs in arms]
            if all(map(_mean_the_same, chains, before)):
                yield variant.name, key, chains == before


def taken_back(chain: ChainConfig, baseline: ChainConfig, key: str) -> ChainConfig:
    """The chain with the setting of that dotted key as the baseline has it.

    A grade that the baseline lacks takes the setting of the baseline's grade at its place, or of the last one.
    """
    parts = key.split(".")
    only = parts[1] if parts[0] == "grades" and len(parts) > 2 else "*"
    path = _whole(touched(key).split("."))
    if path[0] not in GradeConfig.model_fields:
        back: ChainConfig = _with(chain, path, _value(baseline, path))
        return back
    named = {grade.name: grade for grade in baseline.grades}
    grades = []
    for place, grade in enumerate(chain.grades):
        if only not in ("*", grade.name):
            grades.append(grade)
            continue
        there = named.get(grade.name, baseline.grades[min(place, len(baseline.grades) - 1)])
        grades.append(_with(grade, path, _value(there, path)))
    return chain.model_copy(update={"grades": tuple(grades)})


def _shape(chain: ChainConfig) -> list[tuple[str, int]]:
    return [(grade.name, grade.layers) for grade in chain.grades]


def _mean_the_same(chain: ChainConfig, other: ChainConfig) -> bool:
    try:
        return meaning(chain) == meaning(other)
    except ValueError:  # the baseline's teacher is the name of a grade that this chain has not
        return False


def _whole(path: list[str]) -> list[str]:
    """A loss is taken back with its options where its name is."""
    return path[:-1] if path[0] == "loss" and path[-1] == "name" else path


def _value(model: BaseModel, path: list[str]) -> Any:
    """The value at a path; `ABSENT` for an option that the baseline's loss does not have."""
    value: Any = model
    for part in path:
        value = getattr(value, part, ABSENT)
    return value


def _with(model: Any, path: list[str], value: Any) -> Any:
    """A copy with another value at the path (its default for `ABSENT`); not validated again."""
    head, *rest = path
    if rest:
        value = _with(getattr(model, head), rest, value)
    elif value is ABSENT:
        value = type(model).model_fields[head].get_default(call_default_factory=True)
    return model.model_copy(update={head: value})
