"""Benchmarks by name: a file of this folder has `cases(asked)`, and its first line says what it measures."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.inputs import Asked
from benchmarks.record import Case
from pmd_ray.spec.errors import UserError, nearest

Measure = Callable[[Asked], Iterator[Case]]


def names() -> list[str]:
    """All of them."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def about(name: str) -> str:
    """The first line of its file, without importing it."""
    text = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]


def load(name: str) -> Measure:
    """Its measurement.

    Raises:
        UserError: there is none of that name.
    """
    if name not in names():
        raise UserError(f"no benchmark '{name}'; there are {', '.join(names())} and all{nearest(name, names())}")
    found: Measure = importlib.import_module(f"{__name__}.{name}").cases
    return found
