"""Differences to a baseline: written out, inherited by `from:`, or as the cells of a product of factors."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pmd_ray.spec.errors import nearest
from pmd_ray.spec.presets import Draft
from pmd_ray.spec.study import BASELINE

FROM = "from"
CELLS_AT_MOST = 100
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=,-]{0,79}")
"""Variants name folders, TensorBoard runs and rows."""


@dataclass(frozen=True)
class Difference:
    """What one variant lays over the baseline."""

    name: str
    parent: str = BASELINE
    drafts: tuple[Draft, ...] = ()
    """In order: inherited ones first."""
    factors: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """All of it as dotted keys, later drafts over earlier ones."""
        merged: dict[str, Any] = {}
        for draft in self.drafts:
            merged |= flattened(draft)
        return merged


def flattened(draft: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in draft.items():
        place = f"{path}{key}"
        flat |= flattened(value, f"{place}.") if isinstance(value, dict) and value else {place: value}
    return flat


def touched(key: str) -> str:
    """The setting that a dotted key of a draft changes, whichever grades it addresses."""
    parts = key.split(".")
    if parts[0] == "grades" and len(parts) > 2:
        parts = parts[2:]
    return {"mask_rates": "mask.rate"}.get(".".join(parts), ".".join(parts))


def inherited(given: Any, errors: list[str], over: Mapping[str, Sequence[Draft]] | None = None) -> list[Difference]:
    """The variants of a file in its order, each with what it inherits.

    Args:
        over: For each variant, drafts laid over its own difference.
    """
    if given is None:
        return []
    if not isinstance(given, dict):
        errors.append(f"variants: must map names to differences, as in no_mgfd: {{loss.beta: 0.0}}, got {given!r}")
        return []
    well: dict[str, dict[str, Any]] = {}
    for key, difference in given.items():
        name = str(key)
        if name == BASELINE:
            errors.append("variants.baseline: the baseline is given under baseline; choose another name")
        elif not NAME.fullmatch(name):
            errors.append(f"variants.{name}: a name must be letters, digits and _ . = , - (it names a folder)")
        elif not isinstance(difference, dict) or not difference:
            errors.append(f"variants.{name}: must map settings to values, as in {{loss.beta: 0.0}}, got {difference!r}")
        else:
            well[name] = difference
    known, over = set(map(str, given)), over or {}
    return [found for name in well if (found := _with_ancestors(name, well, known, errors, over=over))]


def _with_ancestors(
    name: str,
    variants: Mapping[str, dict[str, Any]],
    known: set[str],
    errors: list[str],
    *,
    over: Mapping[str, Sequence[Draft]],
) -> Difference | None:
    path, drafts = [name], list[Draft]()
    while True:
        here = variants[path[-1]]
        later = over.get(path[-1], ())
        replaced = {FROM, *(key for draft in later for key in draft)}
        drafts = [{key: value for key, value in here.items() if key not in replaced}, *later, *drafts]
        above = str(here.get(FROM, BASELINE))
        if above == BASELINE:
            break
        if above in path:
            if above == name:  # each variant of the circle says so, not those that lean on it
                errors.append(f"variants.{name}.from: goes in a circle ({' -> '.join([*path, name])})")
            return None
        if above not in variants:
            if len(path) == 1 and above not in known:
                errors.append(f"variants.{name}.from: no variant '{above}'{nearest(above, [*variants, BASELINE])}")
            return None
        path.append(above)
    return Difference(name, path[1] if len(path) > 1 else BASELINE, tuple(draft for draft in drafts if draft))


def level_name(level: Any) -> str:
    """What a factor's level is called; YAML reads on and off as true and false."""
    return {True: "on", False: "off"}[level] if isinstance(level, bool) else str(level)


def cells_of(given: Any, errors: list[str]) -> list[Difference]:
    """Every combination of the factors' levels, in the file's order, the last factor varying fastest."""
    if given is None:
        return []
    form = "factors: must map factors to levels to differences, as in mask: {off: {mask.rate: 0.0}, on: {}}"
    if not isinstance(given, dict) or not given:
        errors.append(f"{form}, got {given!r}")
        return []
    factors: dict[str, dict[str, dict[str, Any]]] = {}
    for factor, levels in given.items():
        if not isinstance(levels, dict) or len(levels) < 2:
            errors.append(f"factors.{factor}: must map two levels or more to differences, got {levels!r}")
            continue
        named = {level_name(level): {} if part is None else part for level, part in levels.items()}
        wrong = [level for level, part in named.items() if not isinstance(part, dict)]
        errors += [f"factors.{factor}.{level}: must map settings to values, got {named[level]!r}" for level in wrong]
        if not wrong:
            factors[str(factor)] = named
    count = 1
    for named in factors.values():
        count *= len(named)
    if count > CELLS_AT_MOST:
        errors.append(f"factors: {count} combinations, at most {CELLS_AT_MOST}; leave factors or levels out")
        return []
    if len(factors) < len(given):
        return []
    cells = []
    for chosen in itertools.product(*factors.values()):
        at = dict(zip(factors, chosen, strict=True))
        name = ",".join(f"{factor}={level}" for factor, level in at.items())
        if not NAME.fullmatch(name):
            errors.append(
                f"factors: '{name}' is no name (letters, digits and _ . = , -, 80 at most); shorten its parts"
            )
        drafts = tuple(factors[factor][level] for factor, level in at.items() if factors[factor][level])
        cells.append(Difference(name, BASELINE, drafts, at))
    return cells
