"""Imports graphs in the layouts of other projects: one file of this folder per layout, found by its name.

A layout's file has a `read(folder) -> Tables`; adding a file adds the layout.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from pmd_ray.kg.check import Tables, repeats_in
from pmd_ray.kg.graph import SPLITS, Graph
from pmd_ray.kg.load import assemble
from pmd_ray.kg.read import Table
from pmd_ray.spec.errors import UserError, nearest


class Layout(Protocol):
    """What a file of this folder offers."""

    def read(self, folder: Path) -> Tables:
        """Read a graph; what is wrong stays as problems in the tables."""
        ...


def layouts() -> tuple[str, ...]:
    """Names of the layouts that can be imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def import_graph(layout: str, folder: Path, *, name: str) -> Graph:
    """Read the graph in `folder`, laid out as `layout` says, and check it as `load_graph` does.

    Exact duplicates within a file are dropped, and so are entities and relations of no triple (these layouts often
    describe a larger graph); the graph's warnings count both. Errors name file and line of the foreign files.
    """
    if layout not in layouts():
        raise UserError(f"unknown layout '{layout}'{nearest(layout, layouts())} (layouts: {', '.join(layouts())})")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the one that holds the files of the {layout} layout")
    module = cast(Layout, importlib.import_module(f"{__name__}.{layout}"))
    tables, dropped = _without_duplicates(module.read(folder))
    tables, unused = _without_unused(tables)
    graph = assemble(tables, name=name, source=folder)
    return replace(graph, warnings=(*dropped, *unused, *graph.warnings))


def _without_duplicates(tables: Tables) -> tuple[Tables, list[str]]:
    """Drop rows that repeat an earlier one of their file cell by cell; an id with two texts stays, as a problem."""
    unique: list[Table] = []
    warnings: list[str] = []
    for table in tables:
        seen: dict[tuple[str, ...], int] = {}
        rows = zip(*table.columns, strict=True)
        keys = np.array([seen.setdefault(row, len(seen)) for row in rows], dtype=np.int64)
        kept = np.ones(len(table), dtype=np.bool_)
        kept[[row for row, _ in repeats_in(keys)]] = False
        unique.append(table if kept.all() else table.keep(kept))
        if not kept.all():
            warnings.append(f"{table.file}: {int((~kept).sum()):,} repeated lines were dropped")
    entities, relations, *splits = unique
    return Tables(entities=entities, relations=relations, splits=dict(zip(SPLITS, splits, strict=True))), warnings


def _without_unused(tables: Tables) -> tuple[Tables, list[str]]:
    """Drop entities and relations of no triple; where no triple could be read, all would go, and hide the reason."""
    splits = tables.splits.values()
    if not all(len(table) for table in splits):
        return tables, []
    entities = {entity for table in splits for column in (0, 2) for entity in table.columns[column]}
    relations = {relation for table in splits for relation in table.columns[1]}
    warnings: list[str] = []
    kept: list[Table] = []
    for noun, table, used in (("entities", tables.entities, entities), ("relations", tables.relations, relations)):
        in_use = np.array([identity in used for identity in table.columns[0]], dtype=np.bool_)
        unused = len(table) - int(in_use.sum())
        kept.append(table.keep(in_use) if unused else table)
        if unused:
            warnings.append(f"{table.file}: {unused:,} {noun} of no triple were dropped")
    return replace(tables, entities=kept[0], relations=kept[1]), warnings
