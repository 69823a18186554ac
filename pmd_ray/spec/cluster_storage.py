"""Whether all nodes of a launcher file see one storage, and whether what is copied to them is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pmd_ray.spec.cluster_environment import ROLES, all_commands, role_of
from pmd_ray.spec.cluster_findings import Findings, mapping, texts

STORAGE = "PMD_STORAGE"
MADE_BY = {
    "auth_token": "make it with: pmd cluster token",
    "dist": "make it with: make wheel",
}
NOT_YET = re.compile(r"change-me|\b(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d+\b", re.I)
"""Placeholders of the shipped files; the addresses are reserved for documentation."""


def check_storage(config: Mapping[str, Any], found: Findings) -> None:
    """PMD_STORAGE is set alike on all nodes, and shared."""
    places = {role: role_of(config, role).variables.get(STORAGE) for role in ROLES}
    if None in places.values() or "" in places.values():
        where = " and ".join(role for role, place in places.items() if not place)
        found.error(
            STORAGE,
            f"not set for the {where}; name one place for all nodes in docker.run_options or the ray start commands: "
            "s3://BUCKET/PATH, or a folder that is mounted on each",
        )
        return
    if len(set(places.values())) > 1:
        found.error(STORAGE, f"the head has {places['head']}, workers {places['worker']}; name one place for all nodes")
    place = str(places["worker"])
    if "://" in place:
        _bucket(config, place, found)
    elif _nodes(config) > 1 and not _is_mounted(config, place):
        found.error(
            STORAGE,
            f"{place} is a folder of each machine, not of the cluster: what one trains the others would not see; "
            f"name s3://BUCKET/PATH, or mount it ({place} in an initialization command with mount or mountpoint)",
        )
    elif "docker" in config and mapping(config["docker"]) and not _is_volume(config, place):
        found.error(STORAGE, f"{place} is not in the containers; add -v {place}:{place} to docker.run_options")


def check_copies(config: Mapping[str, Any], exists: Callable[[str], bool], found: Findings) -> None:
    """What `file_mounts` copies is on this machine, from where `ray up` is called."""
    for remote, local in mapping(config.get("file_mounts")).items():
        if not isinstance(local, str):
            found.error(f"file_mounts.{remote}", f"must name a file or folder of this machine, got {local!r}")
        elif not exists(local):
            name = local.rstrip("/").rpartition("/")[2]
            hint = MADE_BY.get(name, "paths are taken from where ray up is called")
            found.warn(f"file_mounts.{remote}", f"{local} is not there; {hint}")


def check_placeholders(text: str, found: Findings) -> None:
    """What the shipped files leave to whoever uses them."""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := NOT_YET.search(line.partition("#")[0]):
            found.warn(f"line {number}", f"{match[0]} stands for a value of your own")


def _bucket(config: Mapping[str, Any], place: str, found: Findings) -> None:
    """On AWS a machine reaches S3 by its instance profile; keys have no place in a file."""
    if not place.startswith("s3://") or mapping(config.get("provider")).get("type") != "aws":
        return
    for name, node in mapping(config.get("available_node_types")).items():
        machine = mapping(mapping(node).get("node_config"))
        if "IamInstanceProfile" not in machine:
            found.error(
                f"available_node_types.{name}.node_config.IamInstanceProfile",
                f"missing; without one the machine cannot reach {place} (and keys do not belong into a file)",
            )


def _nodes(config: Mapping[str, Any]) -> int:
    """Nodes at most, the head among them; 2 where the file does not say."""
    provider = mapping(config.get("provider"))
    if provider.get("type") == "local":
        addresses = provider.get("worker_ips")
        return 1 + len(addresses) if isinstance(addresses, list) else 2
    most = config.get("max_workers")
    return 1 + most if isinstance(most, int) else 2


def _is_mounted(config: Mapping[str, Any], place: str) -> bool:
    return any(re.search(r"mount|nfs|efs|fuse", text) and _names(text, place) for _, text in all_commands(config))


def _is_volume(config: Mapping[str, Any], place: str) -> bool:
    options = texts(mapping(config.get("docker")).get("run_options"))
    return any(re.match(r"\s*(-v|--volume|--mount)\b", text) and _names(text, place) for text in options)


def _names(text: str, place: str) -> bool:
    """Whether a command names the folder or one above it (never the root)."""
    parts = place.rstrip("/").split("/")
    above = ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]
    return any(re.search(rf"(?<![\w/-]){re.escape(folder)}/?(?![\w/-])", text) for folder in above if folder)
