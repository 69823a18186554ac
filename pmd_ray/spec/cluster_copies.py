"""What a launcher file copies from this machine: whether it is there, and as the nodes need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pmd_ray.spec.cluster_findings import Findings, mapping, shown
from pmd_ray.spec.cluster_token import is_private

ABSENT = ("is not there", "is empty")
PRIVATE = "make it yours alone with: chmod 600"
TOKEN_NAME = "auth_token"
LONGEST = 255
"""Characters of a path that a message repeats."""
MADE_BY = {
    TOKEN_NAME: "make it with: pmd cluster token",
    "dist": "make it with: make wheel",
}


def check_copies(config: Mapping[str, Any], fault: Callable[[str], str | None], found: Findings) -> None:
    """What `file_mounts` copies, and the key to log in with, from where `ray up` is called.

    Args:
        fault: What is wrong with a file or folder of this machine, or None.
    """
    for remote, local in mapping(config.get("file_mounts")).items():
        place = f"file_mounts.{remote}"
        if not isinstance(local, str) or not local:
            found.error(place, f"must name a file or folder of this machine, got {shown(local)}")
        elif said := fault(local):
            name = local.rstrip("/").rpartition("/")[2]
            hint = MADE_BY.get(name, "paths are taken from where ray up is called") if said in ABSENT else PRIVATE
            found.warn(place, f"{shown_path(local)} {said}; {hint}")
    key = mapping(config.get("auth")).get("ssh_private_key")
    if key == "":
        found.error("auth.ssh_private_key", "is empty; name the key's file, as in ~/.ssh/id_ed25519")
    elif isinstance(key, str) and (said := fault(key)):
        found.warn("auth.ssh_private_key", f"{shown_path(key)} {said}; `ray up` logs in with it")


def shown_path(path: str) -> str:
    """A path as messages repeat it: whole, unless no machine could have it."""
    return path if len(path) <= LONGEST else f"{path[: LONGEST - 3]}..."


def fault_of_copy(path: str) -> str | None:
    """What is wrong with a file or folder of this machine, or None; a token must be private."""
    try:
        local = Path(path).expanduser()
        if not local.exists():
            return "is not there"
        if local.is_dir():
            return None if any(local.iterdir()) else "is empty"
        if not local.stat().st_size:
            return "is empty"
        if local.name == TOKEN_NAME and not is_private(local):
            return "can be read by others"
    except (OSError, RuntimeError, ValueError):  # a name that is too long, another user's home, a NUL
        return "is not there"
    return None
