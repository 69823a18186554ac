"""Turns drafts (a preset, a file, `--set` overrides, in this order) into a chain with every grade written out.

A draft may set a section for all grades (`optimiser.lr`), for all by `grades.*.optimiser.lr`, or for one by
`grades.6.optimiser.lr`; a later draft wins over an earlier one whatever its form, and within one draft the more
particular setting wins. What is set for all grades reaches a teacher too, but for three things that make sense only
where there is someone to learn from: `teacher`, `mask.rate` and `init.source: teacher`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.complaints import Origins, elsewhere, validate_chain
from pmd_ray.spec.errors import SpecError, nearest
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.loss import LossConfig
from pmd_ray.spec.presets import PRESETS, Draft, halving_rates

SHORTHANDS = {
    "preset": "Start from a named draft; everything else is laid over it.",
    "layers": "Layers of each grade, teacher first; replaces `grades`. Names the first `teacher`, the others by their "
    "number. Source: PMD, 4.1 (12, 12, 9, 6, 3).",
    "mask_rates": "`mask.rate` of each grade after the first; by default 0.2, halved grade by grade, the last 0. An "
    "earlier draft's list is dropped where a later one's `layers` have another number. Source: PMD, 4.1 (0.2, 0.1, "
    "0.05, 0); the released FB15k-237 paths suggest 0.2, 0.1, 0 for 9, 6, 3 layers.",
}
"""Keys of a draft that no chain has: what they stand for is written out in its grades."""

GRADE_KEYS = tuple(key for key in GradeConfig.model_fields if key not in ("name", "layers"))
CHAIN_KEYS = tuple(key for key in ChainConfig.model_fields if key != "grades")
DRAFT_KEYS = (*SHORTHANDS, "grades", *CHAIN_KEYS, *GRADE_KEYS)

Path = tuple[str, ...]


def build_chain(drafts: Sequence[Draft], *, source: str) -> ChainConfig:
    """Merge drafts, later ones over earlier ones, and validate the result.

    Raises:
        SpecError: with every broken rule of all drafts.
    """
    errors: list[str] = []
    read = [_Read.of(draft, errors) for draft in drafts]
    read = [*_preset(read, errors), *read]
    listed = _list_grades(read, errors)
    for place, draft in enumerate(read):
        draft.check(listed, errors, superseded=place < listed.place)
    chain: dict[str, Any] = {}
    for draft in read:
        _merge(chain, {key: draft.settings[key] for key in CHAIN_KEYS if key in draft.settings})
    origins: Origins = {}
    rates = [0.0, *halving_rates(len(listed.grades) - 1)] if listed.by_layers else [0.0] * len(listed.grades)
    for place, (name, grade) in enumerate(listed.grades.items()):
        parts = [part for draft in read for part in draft.about(name, place)]
        origins[name] = _write_out(grade, parts, place=place, default_rate=rates[place])
    config, broken = validate_chain({**chain, "grades": list(listed.grades.values())}, origins)
    errors += broken
    if errors or config is None:
        raise SpecError(source, dict.fromkeys(errors))
    return config


@dataclass(frozen=True)
class _Listed:
    """Names and layers of the chain's grades."""

    place: int
    """Of the draft that lists them."""
    grades: dict[str, dict[str, Any]]
    by_layers: bool = False
    known: bool = True
    """False: no draft lists them well; two stand in, so that the other errors of the drafts are found as well."""


STAND_IN = ("teacher", "student")


@dataclass(frozen=True)
class _Read:
    """One draft with its dotted keys written as mappings."""

    settings: Draft
    lists_grades: bool
    """Its `grades` are the chain's grades; else they only change some of them. A mapping whose first grade says its
    layers lists grades; the dotted `grades.6.layers` changes one."""

    @classmethod
    def of(cls, draft: Draft, errors: list[str]) -> _Read:
        settings: Draft = {}
        for key, value in draft.items():
            _put(settings, (), str(key), value, errors)
        unknown = (key for key in settings if key not in DRAFT_KEYS)
        errors += [f"{key}: unknown key{nearest(key, DRAFT_KEYS) or elsewhere(key)}" for key in unknown]
        grades = settings.get("grades")
        first = next(iter(grades.values()), None) if isinstance(grades, dict) else None
        return cls(settings, isinstance(draft.get("grades"), dict) and isinstance(first, dict) and "layers" in first)

    def check(self, listed: _Listed, errors: list[str], *, superseded: bool) -> None:
        """Report what does not fit the chain's grades, and take it out; `superseded`: a later draft lists them."""
        grades = listed.grades
        self._check_mask_rates(listed, errors, superseded=superseded)
        named = self.settings.pop("grades", None) or {}
        if not isinstance(named, dict):
            errors.append(_grades_form(named))
            return
        self.settings["grades"] = kept = {}
        for name, given in named.items():
            if name != "*" and superseded and self.lists_grades:
                continue
            if name != "*" and name not in grades:
                if not listed.known:
                    continue
                errors.append(f"grades.{name}: no such grade; there are {', '.join(grades)}{nearest(name, grades)}")
            elif not isinstance(given, dict):
                errors.append(f"grades.{name}: must map settings to values, got {given!r}")
            elif "name" in given:
                errors.append(f"grades.{name}.name: a grade's name is its key; change the key '{name}' instead")
            else:
                kept[name] = {key: value for key, value in given.items() if key != "layers" or not superseded}

    def _check_mask_rates(self, listed: _Listed, errors: list[str], *, superseded: bool) -> None:
        students = len(listed.grades) - 1
        rates = self.settings.get("mask_rates")
        if rates is None or (isinstance(rates, list) and len(rates) == students):
            return
        del self.settings["mask_rates"]
        if not isinstance(rates, list) or (listed.known and not superseded):
            wanted = f"{students} rate{'s' if students != 1 else ''}, one for each grade after the first"
            errors.append(f"mask_rates: must list {wanted}, got {rates!r}")

    def about(self, name: str, place: int) -> Iterator[tuple[str, Draft]]:
        """What it says on one grade, from the general to the particular, each with how it addresses the grade."""
        yield "", {key: self.settings[key] for key in GRADE_KEYS if key in self.settings}
        if place and self.settings.get("mask_rates") is not None:
            yield "mask_rates", {"mask": {"rate": self.settings["mask_rates"][place - 1]}}
        grades = self.settings.get("grades", {})
        yield "grades.*", grades.get("*", {})
        yield f"grades.{name}", grades.get(name, {})


def _put(into: Draft, path: Path, key: str, value: Any, errors: list[str]) -> None:
    """Set one key, which may be dotted, of the mapping at `path`; what is given in two forms is an error."""
    head, _, rest = key.partition(".")
    path = (*path, head)
    if not head or key.endswith("."):
        errors.append(f"'{'.'.join((*path[:-1], key))}': a key has an empty part")
        return
    given = {rest: value} if rest else _spell_out(path, value)
    if not isinstance(given, dict):
        if head in into:
            errors.append(f"{'.'.join(path)}: is given twice, once as a dotted key")
        into[head] = given
        return
    inner = into.setdefault(head, {})
    if not isinstance(inner, dict):
        errors.append(f"{'.'.join(path)}: is given twice, once as a dotted key")
        return
    for name, part in given.items():
        _put(inner, path, str(name), part, errors)


def _spell_out(path: Path, value: Any) -> Any:
    """A dataset, an encoder or a loss may be given by its name alone."""
    if isinstance(value, str):
        if path == ("dataset",):
            return {"source": value}
        if path == ("encoder",) or path[-2:] in (("loss", "score"), ("loss", "feature")):
            return {"name": value}
    return value


def _merge(base: dict[str, Any], over: Mapping[str, Any], path: Path = ()) -> None:
    """Lay `over` on `base`, mapping by mapping; a loss of another name drops the earlier one's options."""
    if path in (("loss", "score"), ("loss", "feature")):
        default = LossConfig.model_fields[path[1]].default
        if over.get("name", base.get("name", default)) != base.get("name", default):
            base.clear()
    for key, value in over.items():
        if not isinstance(value, dict):
            base[key] = value
            continue
        below = base.get(key)
        if not isinstance(below, dict):
            below = base[key] = {}
        _merge(below, value, (*path, key))


def _preset(drafts: Sequence[_Read], errors: list[str]) -> list[_Read]:
    """The preset that the last draft with one asks for."""
    wanted = next((d.settings["preset"] for d in reversed(drafts) if d.settings.get("preset") is not None), None)
    if wanted is None:
        return []
    if not isinstance(wanted, str) or wanted not in PRESETS:
        errors.append(f"preset: no preset '{wanted}'; there are {', '.join(PRESETS)}{nearest(str(wanted), PRESETS)}")
        return []
    return [_Read.of(PRESETS[wanted](), errors)]


def _list_grades(drafts: Sequence[_Read], errors: list[str]) -> _Listed:
    """The grades of the last draft that lists them."""
    for place in reversed(range(len(drafts))):
        layers = drafts[place].settings.get("layers")
        written = [draft for draft in drafts[: place + 1] if draft.lists_grades]
        if layers is not None and written:
            errors.append(
                "layers: the grades are written out one by one under grades; change grades.NAME.layers there or by "
                "--set, or leave one of the two out"
            )
            return _Listed(place, _written_grades(written[-1], errors))
        if layers is not None:
            if isinstance(layers, list) and layers and all(type(count) is int for count in layers):
                return _Listed(place, _grades_by_layers(layers), by_layers=True)
            errors.append(f"layers: must list whole numbers, teacher first, as in [12, 12, 9, 6, 3], got {layers!r}")
            break
        if drafts[place].lists_grades:
            return _Listed(place, _written_grades(drafts[place], errors))
    else:
        # A list of grades and an unknown preset are reported as such.
        if not any("preset" in draft.settings or isinstance(draft.settings.get("grades"), list) for draft in drafts):
            errors.append(
                "layers: missing; list the layers of each grade, teacher first, as in layers: [12, 12, 9, 6, 3], or "
                f"name a preset ({', '.join(PRESETS)})"
            )
    return _Listed(0, {name: {"name": name, "layers": 1} for name in STAND_IN}, known=False)


def _grades_by_layers(listed: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The first is called `teacher`, the others by their layers, counted where that is taken: 9, 9-2."""
    names: list[str] = []
    for place, layers in enumerate(listed):
        name = str(layers) if place else "teacher"
        again = sum(taken == name or taken.startswith(f"{name}-") for taken in names)
        names.append(f"{name}-{again + 1}" if again else name)
    return {name: {"name": name, "layers": layers} for name, layers in zip(names, listed, strict=True)}


def _written_grades(draft: _Read, errors: list[str]) -> dict[str, dict[str, Any]]:
    grades: dict[str, dict[str, Any]] = {}
    for name, given in draft.settings["grades"].items():
        if name == "*":
            continue
        layers: Any = int(name) if name.isdecimal() else None
        if isinstance(given, dict):
            layers = given.get("layers", layers)
        if layers is None:
            errors.append(f"grades.{name}.layers: missing; say how many layers the grade has")
        grades[name] = {"name": name, "layers": 1 if layers is None else layers}
    return grades


def _grades_form(given: Any) -> str:
    names = [g.get("name", "NAME") for g in given if isinstance(g, dict)] if isinstance(given, list) else []
    example = ", ".join(f"{name}: {{...}}" for name in names) or "teacher: {layers: 12}, 6: {layers: 6}"
    return (
        f"grades: must map names to settings, as in grades: {{{example}}}, got a {type(given).__name__}; "
        "a plain list of layer counts goes under layers"
    )


def _write_out(
    grade: dict[str, Any], parts: Sequence[tuple[str, Draft]], *, place: int, default_rate: float
) -> dict[Path, str]:
    """Lay all that the drafts say on one grade; return which way of addressing it set each value."""
    personal = ("mask_rates", f"grades.{grade['name']}")
    teachers = [given["teacher"] for how, given in parts if "teacher" in given and (place or how in personal)]
    taught = bool(place) and teachers[-1:] != ["none"]
    if taught:
        grade["mask"] = {"rate": default_rate}
    origins: dict[Path, str] = {}
    for how, given in parts:
        reaching = given if how in personal else _for_all(given, first=not place, taught=taught)
        _merge(grade, reaching)
        origins.update(dict.fromkeys(_leaves(reaching), how))
    return origins


def _for_all(given: Draft, *, first: bool, taught: bool) -> Draft:
    """What of a setting for all grades reaches this one."""
    reaching = {key: value for key, value in given.items() if key != "teacher" or not first}
    if not taught:
        if isinstance(given.get("mask"), dict):
            reaching["mask"] = {key: value for key, value in given["mask"].items() if key != "rate"}
        if isinstance(given.get("init"), dict) and given["init"].get("source") == "teacher":
            reaching["init"] = {key: value for key, value in given["init"].items() if key != "source"}
    return reaching


def _leaves(given: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    for key, value in given.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)
