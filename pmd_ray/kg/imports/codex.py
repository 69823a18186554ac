"""CoDEx's layout: the `data` folder of its repository, with triples/, entities/en/ and relations/en/.

Name: the Wikidata label. Description: Wikidata's short one, then the lead of the Wikipedia article. `data` itself means
CoDEx-S; `data/triples/codex-m` and `codex-l` choose the others.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from pmd_ray.kg.check import TRIPLE_COLUMNS, Tables
from pmd_ray.kg.graph import SPLITS
from pmd_ray.kg.read import Problem, Rule, Table, one_line, read_table

ENTITIES = "entities/en/entities.json"
EXTRACTS = "entities/en/extracts.zip"
RELATIONS = "relations/en/relations.json"
LONGEST_EXTRACT = 1 << 20
"""Bytes; the longest extract of CoDEx-L is far below. More is a broken or hostile archive."""


def read(folder: Path) -> Tables:
    """Read `folder`: CoDEx's `data`, or one of the folders in its `triples`."""
    root, size = (folder.parent.parent, folder.name) if folder.parent.name == "triples" else (folder, "codex-s")
    files = {split: f"triples/{size}/{split}.txt" for split in SPLITS}
    splits = {split: read_table(root, file, header=TRIPLE_COLUMNS, foreign=True) for split, file in files.items()}
    entities = dict.fromkeys(
        entity
        for table in splits.values()
        for pair in zip(table.columns[0], table.columns[2], strict=True)
        for entity in pair
    )
    relations = {relation for table in splits.values() for relation in table.columns[1]}
    return Tables(entities=_read_entities(root, entities), relations=_read_relations(root, relations), splits=splits)


def _read_entities(root: Path, wanted: Iterable[str]) -> Table:
    """The wanted entities that have an entry, in the order in which the triples name them."""
    problems: list[Problem] = []
    described = _read_json(root, ENTITIES, problems)
    ids = tuple(entity for entity in wanted if entity in described)
    extracts = _read_extracts(root, frozenset(ids), problems)
    names = tuple(one_line(_field(described[entity], "label")) for entity in ids)
    descriptions = tuple(
        ". ".join(part for part in (one_line(_field(described[entity], "description")), extracts.get(entity)) if part)
        for entity in ids
    )
    return _table(ENTITIES, (ids, names, descriptions), problems)


def _read_relations(root: Path, wanted: frozenset[str] | set[str]) -> Table:
    problems: list[Problem] = []
    described = _read_json(root, RELATIONS, problems)
    ids = tuple(relation for relation in described if relation in wanted)
    return _table(RELATIONS, (ids, tuple(one_line(_field(described[relation], "label")) for relation in ids)), problems)


def _table(file: str, columns: tuple[tuple[str, ...], ...], problems: list[Problem]) -> Table:
    lines = np.zeros(len(columns[0]), dtype=np.int64)  # JSON: the whole file is one line
    return Table(file=file, columns=columns, lines=lines, problems=tuple(problems), readable=not problems)


def _field(entry: object, key: str) -> str:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) else ""


def _read_json(root: Path, file: str, problems: list[Problem]) -> dict[str, object]:
    try:
        content = json.loads((root / file).read_bytes())
    except FileNotFoundError:
        problems.append(Problem(file, 0, Rule.MISSING, "missing; it maps each id to its label and description"))
        return {}
    except OSError as error:
        problems.append(Problem(file, 0, Rule.MISSING, f"cannot be read ({error.strerror})"))
        return {}
    except ValueError as error:  # not JSON, or not UTF-8
        problems.append(Problem(file, 0, Rule.ENCODING, f"not JSON ({error})"))
        return {}
    if not isinstance(content, dict):
        problems.append(Problem(file, 0, Rule.ENCODING, "not a JSON object from ids to labels"))
        return {}
    return content


def _read_extracts(root: Path, wanted: frozenset[str], problems: list[Problem]) -> dict[str, str]:
    """Texts of the wanted entities: entry `extracts/Q42.txt` of the archive is that of Q42; not each has one."""
    extracts: dict[str, str] = {}
    try:
        with zipfile.ZipFile(root / EXTRACTS) as archive:
            for entry in archive.infolist():
                path = PurePosixPath(entry.filename)
                if path.suffix != ".txt" or path.stem not in wanted:
                    continue
                with archive.open(entry) as file:
                    raw = file.read(LONGEST_EXTRACT + 1)
                extracts[path.stem] = _extract_text(raw, f"{EXTRACTS}/{entry.filename}", problems)
    except FileNotFoundError:
        problems.append(Problem(EXTRACTS, 0, Rule.MISSING, "missing; it holds a text file per entity"))
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        problems.append(Problem(EXTRACTS, 0, Rule.ENCODING, f"not a readable zip archive ({error})"))
    return extracts


def _extract_text(raw: bytes, file: str, problems: list[Problem]) -> str:
    if len(raw) > LONGEST_EXTRACT:
        problems.append(
            Problem(file, 0, Rule.ENCODING, f"longer than {LONGEST_EXTRACT:,} bytes; is this CoDEx's file?")
        )
        return ""
    try:
        return one_line(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        problems.append(Problem(file, 0, Rule.ENCODING, f"not UTF-8: byte 0x{raw[error.start]:02x}"))
        return ""
