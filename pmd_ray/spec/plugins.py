"""Looks parts up by name: a new loss, mask policy, layer map or teacher choice is a new file and nothing else.

A part's name is its file's name. Listing names imports nothing; loading a part imports its file only. Files of parts
import torch inside their functions, so that a plan can read their options without it.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from types import ModuleType
from typing import Literal

from pmd_ray.spec.errors import nearest

Kind = Literal["loss", "mask policy", "layer map", "teacher choice"]

ROOMS: dict[Kind, str] = {
    "loss": "pmd_ray.model.losses",
    "mask policy": "pmd_ray.model.mask_policies",
    "layer map": "pmd_ray.model.layer_maps",
    "teacher choice": "pmd_ray.spec.teacher_choices",
}


def names(kind: Kind) -> list[str]:
    """The names of all parts of a kind, sorted."""
    return list(_files_in(ROOMS[kind]))


@cache
def _files_in(room: str) -> tuple[str, ...]:
    """A room's files are looked up once in a process: every validated grade asks for them."""
    spec = importlib.util.find_spec(room)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(room)
    return tuple(
        sorted(file.name for file in pkgutil.iter_modules(spec.submodule_search_locations) if file.name[0] != "_")
    )


def load(kind: Kind, name: str) -> ModuleType:
    """The file of a part.

    Raises:
        ValueError: no part of that name (the message names the legal ones).
    """
    legal = names(kind)
    if name not in legal:
        raise ValueError(f"no {kind} '{name}'; there are {', '.join(legal)}{nearest(name, legal)}")
    return importlib.import_module(f"{ROOMS[kind]}.{name}")
