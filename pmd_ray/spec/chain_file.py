"""Chain files: YAML in and out, with dotted overrides."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import SpecError, UserError, nearest
from pmd_ray.spec.presets import PRESETS, Draft

SHIPPED = Path(__file__).resolve().parents[1] / "chains"
PRESET_NAMES = ", ".join(PRESETS)


class UniqueKeys(yaml.SafeLoader):
    """The safe loader, but a key given twice is an error instead of the last one winning."""


def _mapping(loader: UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        is_merge = key_node.tag == "tag:yaml.org,2002:merge"
        key = "<<" if is_merge else loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, f"{key} cannot be a key", key_node.start_mark)
        if str(key) in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", key_node.start_mark)
        seen.add(str(key))
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value
    }


UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _read_yaml(text: str) -> Any:
    """Plain values only.

    Raises:
        ValueError: no YAML; says why in one line.
    """
    try:
        return yaml.load(text, Loader=UniqueKeys)  # a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-99-99
        raise ValueError(" ".join(str(error).split())) from None


def shipped_chains() -> list[str]:
    """Names of the chain files inside the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def find_chain(name: str) -> Path | None:
    """The file of that path or, failing that, the shipped chain of that name; None for a preset's name.

    Raises:
        UserError: there is neither file, nor shipped chain, nor preset.
    """
    path = Path(name)
    if exists_as(path, Path.is_file):
        return path
    if name in shipped_chains():
        return SHIPPED / f"{name}.yaml"
    if name in PRESETS:
        return None
    if exists_as(path, Path.is_dir):
        raise UserError(f"'{name}' is a folder; give the chain file in it")
    legal = [*shipped_chains(), *PRESETS]
    raise UserError(
        f"no chain file '{name}'; give a path, a shipped chain ({', '.join(shipped_chains())}) "
        f"or a preset ({PRESET_NAMES}){nearest(name, legal)}"
    )


def exists_as(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Whether there is a file (`Path.is_file`) or a folder of that path; a name too long for one is none."""
    try:
        return kind(path)
    except OSError:
        return False


def parse_override(text: str) -> Draft:
    """Turn `mask.rate=0.1` into a draft; the value is read as YAML.

    Raises:
        SpecError: there is no `=`, or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SpecError("--set", [f"'{text}': write KEY=VALUE, as in mask.rate=0.1"])
    try:
        return {key.strip(): _read_yaml(value)}
    except ValueError as error:
        raise SpecError("--set", [f"'{text}': the value is no YAML: {error}"]) from None


def read_draft(path: Path, *, needs: str | None = None, example: str = "layers: [6, 3]") -> Draft:
    """The mapping of a YAML file.

    Args:
        needs: What to say of an empty file.
        example: What to say of one that is no mapping.

    Raises:
        SpecError: unreadable, no YAML, or no mapping.
    """
    try:
        given = _read_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SpecError(path, [f"is not UTF-8 at byte {error.start}; save it as UTF-8"]) from None
    except OSError as error:
        raise SpecError(path, [f"cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise SpecError(path, [str(error)]) from None
    if given is None:
        raise SpecError(path, [f"is empty; {needs or f'a chain file needs layers, or a preset ({PRESET_NAMES})'}"])
    if not isinstance(given, dict):
        raise SpecError(path, [f"must be a mapping of settings, as in {example}, got a {type(given).__name__}"])
    return given


def load_chain(name: str, overrides: Sequence[str] = ()) -> ChainConfig:
    """Read a chain file, a shipped chain or a preset, lay overrides over it, and validate.

    Raises:
        UserError: there is no such chain.
        SpecError: with all errors at once.
    """
    path = find_chain(name)
    draft = {"preset": name} if path is None else read_draft(path)
    drafts, errors = [draft], list[str]()
    for text in overrides:
        try:
            drafts.append(parse_override(text))
        except SpecError as error:
            errors += error.errors
    source = " --set ".join([str(path or name), *overrides])
    if errors:
        raise SpecError("--set", errors)
    return build_chain(drafts, source=source)


def dump_chain(chain: ChainConfig) -> str:
    """The chain with every grade written out, as YAML that `load_chain` reads back to an equal chain."""
    plain = chain.model_dump(mode="json", exclude={"grades"})
    plain["grades"] = {grade.name: grade.model_dump(mode="json", exclude={"name"}) for grade in chain.grades}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
