"""Checks a graph: every problem with its file and line in one report, and what is legal but worth knowing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pmd_ray.kg.graph import SPLITS, Split, Triples
from pmd_ray.kg.read import Problem, Rule, Table, read_table
from pmd_ray.kg.survey import Counts, counts_of, keys_of, warnings_of
from pmd_ray.spec.errors import DataError, UserError

ENTITY_COLUMNS = ("id", "name", "description")
RELATION_COLUMNS = ("id", "text")
TRIPLE_COLUMNS = ("head", "relation", "tail")
FIRST_OF_A_KIND = 5
"""So many problems of each kind and file come before the rest, so that a long list still shows every kind."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The five files of a graph as read, before any id was looked up."""

    entities: Table
    relations: Table
    splits: Mapping[Split, Table]

    def __iter__(self) -> Iterator[Table]:
        yield from (self.entities, self.relations, *(self.splits[split] for split in SPLITS))


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `check_folder` found."""

    problems: tuple[Problem, ...]
    """In the order of files and lines."""
    warnings: tuple[str, ...]
    """Found only where there is no problem."""
    counts: Counts

    def raise_problems(self, source: str | Path) -> None:
        """Raise DataError with all problems, if there is one."""
        if self.problems:
            raise DataError(source, [str(problem) for problem in _every_kind_first(self.problems)])


def check_folder(folder: Path) -> Report:
    """Read and check the canonical layout in `folder`; UserError where there is no such folder."""
    return check_tables(read_folder(folder))[0]


def read_folder(folder: Path) -> Tables:
    """Read the five files of the canonical layout; problems of single lines stay in the tables."""
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder; a graph is a folder with entities.tsv, relations.tsv, train.tsv ..."
        )
    return Tables(
        entities=read_table(folder, "entities.tsv", header=ENTITY_COLUMNS),
        relations=read_table(folder, "relations.tsv", header=RELATION_COLUMNS),
        splits={split: read_table(folder, f"{split}.tsv", header=TRIPLE_COLUMNS) for split in SPLITS},
    )


def check_tables(tables: Tables) -> tuple[Report, dict[Split, Triples]]:
    """Check a graph; return the report and, true only where it has no problem, the numbered triples ([N, 3] each)."""
    entity_numbers, relation_numbers = _numbering(tables.entities), _numbering(tables.relations)
    known = len(entity_numbers), len(relation_numbers)
    numbered = {split: _numbered(tables.splits[split], entity_numbers, relation_numbers) for split in SPLITS}
    bases = len(entity_numbers), len(relation_numbers)
    problems = [problem for table in tables for problem in table.problems]
    problems += _check_texts(tables.entities, noun="entity", needed=("id", "name"))
    problems += _check_texts(tables.relations, noun="relation", needed=("id", "text"))
    for split in SPLITS:
        problems += _check_ids(tables, split=split, triples=numbered[split], known=known)
    problems += _check_repeats(tables, numbered, bases=bases)
    triples: dict[Split, Triples] = {split: rows.astype(np.int32) for split, rows in numbered.items()}
    ordered = _in_file_order(problems, files=[table.file for table in tables])
    counts = counts_of(tables.entities, tables.relations, triples, sound=not ordered)
    warnings = () if ordered else warnings_of(counts)
    return Report(problems=ordered, warnings=warnings, counts=counts), triples


def _numbering(table: Table) -> defaultdict[str, int]:
    """Number ids in file order; an id asked for later and not there gets the next number, past all known ones."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    for identity in (*table.columns[0], *sorted(table.broken_ids)):
        if identity.strip():
            numbers[identity]
    return numbers


def _numbered(table: Table, entities: Mapping[str, int], relations: Mapping[str, int]) -> NDArray[np.int64]:
    rows = np.empty((len(table), 3), dtype=np.int64)
    for column, numbers in enumerate((entities, relations, entities)):
        rows[:, column] = np.fromiter(map(numbers.__getitem__, table.columns[column]), np.int64, count=len(table))
    return rows


def _check_texts(table: Table, *, noun: str, needed: tuple[str, str]) -> Iterator[Problem]:
    if table.readable and not len(table) and not table.problems:
        yield Problem(table.file, 0, Rule.EMPTY, f"holds no {noun}")
    first: dict[str, int] = {}
    lines: list[int] = table.lines.tolist()
    for row, (identity, text, line) in enumerate(zip(table.columns[0], table.columns[1], lines, strict=True)):
        if not identity.strip():
            yield Problem(table.file, line, Rule.EMPTY, f"empty {noun} id")
            continue
        if identity != identity.strip():
            yield Problem(table.file, line, Rule.SPACE, f"spaces around the {noun} id {identity!r}; remove them")
        if not text.strip():
            yield Problem(table.file, line, Rule.EMPTY, f"{noun} '{identity}' has an empty {needed[1]}")
        if (earlier := first.setdefault(identity, row)) != row or identity in table.broken_ids:
            where = f", first on line {lines[earlier]}" if lines[earlier] != line else ""
            yield Problem(table.file, line, Rule.DUPLICATE_ID, f"duplicate {noun} id '{identity}'{where}")


def _check_ids(
    tables: Tables, *, split: Split, triples: NDArray[np.int64], known: tuple[int, int]
) -> Iterator[Problem]:
    table = tables.splits[split]
    if table.readable and not len(table) and not table.problems:
        yield Problem(table.file, 0, Rule.EMPTY, f"the {split} split is empty; give it at least one triple")
    limits = np.array([known[0], known[1], known[0]], dtype=np.int64)
    judged = np.array([tables.entities.readable, tables.relations.readable, tables.entities.readable])
    # Only lines that name an unknown id are looked at one by one.
    for row in np.flatnonzero(((triples >= limits) & judged).any(axis=1)).tolist():
        line = int(table.lines[row])
        for place in np.flatnonzero((triples[row] >= limits) & judged).tolist():
            yield _unknown(tables, table, line=line, place=place, identity=table.columns[place][row])


def _unknown(tables: Tables, table: Table, *, line: int, place: int, identity: str) -> Problem:
    column = TRIPLE_COLUMNS[place]
    if not identity.strip():
        return Problem(table.file, line, Rule.EMPTY, f"empty {column} id")
    noun, home = ("relation", tables.relations.file) if place == 1 else ("entity", tables.entities.file)
    return Problem(table.file, line, Rule.UNKNOWN_ID, f"unknown {noun} '{identity}' as {column}: not in {home}")


def _check_repeats(
    tables: Tables, numbered: Mapping[Split, NDArray[np.int64]], *, bases: tuple[int, int]
) -> Iterator[Problem]:
    keys = {split: keys_of(numbered[split], bases=bases) for split in SPLITS}
    if not _any_repeat(np.concatenate([keys[split] for split in SPLITS])):
        return
    for split in SPLITS:
        file, lines = tables.splits[split].file, tables.splits[split].lines
        for row, earlier in repeats_in(keys[split]):
            where = f"first on line {lines[earlier]}"
            yield Problem(file, int(lines[row]), Rule.DUPLICATE_TRIPLE, f"duplicate triple, {where}; remove one")
        for other in SPLITS[: SPLITS.index(split)]:
            shared = np.flatnonzero(np.isin(keys[split], keys[other])).tolist()
            places = _places(keys[other]) if shared else {}
            for row in shared:
                found = f"{tables.splits[other].file}:{tables.splits[other].lines[places[int(keys[split][row])]]}"
                text = f"leak: this triple is also in {found}; a triple belongs to one split"
                yield Problem(file, int(lines[row]), Rule.LEAK, text)


def repeats_in(keys: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Rows whose key stood earlier, each with the row where it stood first."""
    if not _any_repeat(keys):
        return
    first = _places(keys)
    yield from ((row, first[key]) for row, key in enumerate(keys.tolist()) if first[key] != row)


def _any_repeat(keys: NDArray[np.int64]) -> bool:
    ordered = np.sort(keys)
    return bool((ordered[1:] == ordered[:-1]).any())


def _places(keys: NDArray[np.int64]) -> dict[int, int]:
    places: dict[int, int] = {}
    for row, key in enumerate(keys.tolist()):
        places.setdefault(key, row)
    return places


def _in_file_order(problems: Iterable[Problem], *, files: list[str]) -> tuple[Problem, ...]:
    rank = {file: position for position, file in enumerate(files)}
    return tuple(sorted(problems, key=lambda problem: (rank.get(problem.file, len(rank)), problem.line)))


def _every_kind_first(problems: Iterable[Problem]) -> list[Problem]:
    seen: Counter[tuple[str, Rule]] = Counter()
    first: list[Problem] = []
    rest: list[Problem] = []
    for problem in problems:
        seen[problem.file, problem.rule] += 1
        (first if seen[problem.file, problem.rule] <= FIRST_OF_A_KIND else rest).append(problem)
    return first + rest
