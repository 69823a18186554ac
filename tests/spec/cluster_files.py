"""The shipped cluster files, and changes to them that break one rule each."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pmd_ray.spec.cluster_file import ClusterCheck, check_documents

ROOT = Path(__file__).resolve().parents[2]
AWS, GCP, LOCAL = ROOT / "cluster.yaml", ROOT / "deploy" / "gcp.yaml", ROOT / "deploy" / "local.yaml"
LAUNCHER = (AWS, GCP, LOCAL)
RAYCLUSTER, RAYJOB = ROOT / "deploy" / "kuberay" / "raycluster.yaml", ROOT / "deploy" / "kuberay" / "rayjob.yaml"
KUBERAY = (RAYCLUSTER, RAYJOB)
SHIPPED = (*LAUNCHER, *KUBERAY)


@cache
def _read(file: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one is not None]


def documents(file: Path) -> list[dict[str, Any]]:
    """The documents of a shipped file, free to be changed."""
    # A copy by JSON has no parts in common, as YAML's anchors have.
    copied: list[dict[str, Any]] = json.loads(json.dumps(_read(file)))
    return copied


def broken(
    file: Path, change: Callable[[dict[str, Any]], object] = lambda document: None, *, needs_gpu: bool | None = None
) -> ClusterCheck:
    """Check a copy of a shipped file, of which `change` has changed the last document (in place)."""
    all_of_it = documents(file)
    change(all_of_it[-1])
    return check_documents(all_of_it, needs_gpu=needs_gpu)


def put(path: str | tuple[str, ...], value: Any) -> Callable[[dict[str, Any]], object]:
    """A change that sets what lies at a path (parts with a slash: as a tuple); `None` removes it."""

    def change(document: dict[str, Any]) -> None:
        holder: Any = document
        *way, last = path.split("/") if isinstance(path, str) else path
        for part in way:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        if value is None:
            del holder[last]
        else:
            holder[int(last) if isinstance(holder, list) else last] = value

    return change
