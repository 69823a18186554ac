"""The keys of a Ray cluster launcher file with their types: what is unknown, misspelt, missing or of another type.

Ray's own validation stops at the first of these and does not see several at all (see `run/launcher_rules.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pmd_ray.spec.cluster_findings import MOST, Findings, mapping, shown, text, whole
from pmd_ray.spec.errors import nearest

COMMANDS = "list of commands"
OF_MACHINES = " of machines"
MACHINES = f"whole number{OF_MACHINES}"
LIMITS = {MACHINES: 10_000, "whole number": MOST, "number": MOST}
"""The largest of each kind."""
TOP = {
    "cluster_name": "text",
    "max_workers": MACHINES,
    "min_workers": MACHINES,
    "upscaling_speed": "number",
    "idle_timeout_minutes": "number",
    "provider": "mapping",
    "auth": "mapping",
    "docker": "mapping",
    "head_node_type": "text",
    "available_node_types": "mapping",
    "file_mounts": "mapping",
    "cluster_synced_files": "list",
    "file_mounts_sync_continuously": "true or false",
    "rsync_exclude": "list",
    "rsync_filter": "list",
    "metadata": "mapping",
    "initialization_commands": COMMANDS,
    "setup_commands": COMMANDS,
    "head_setup_commands": COMMANDS,
    "worker_setup_commands": COMMANDS,
    "head_start_ray_commands": COMMANDS,
    "worker_start_ray_commands": COMMANDS,
}
AUTH = {
    "ssh_user": "text",
    "ssh_public_key": "text",
    "ssh_private_key": "text",
    "ssh_proxy_command": "text",
    "ssh_proxy_use_node_id": "true or false",
}
DOCKER = {
    "image": "text",
    "head_image": "text",
    "worker_image": "text",
    "container_name": "text",
    "pull_before_run": "true or false",
    "run_options": "list",
    "head_run_options": "list",
    "worker_run_options": "list",
    "disable_automatic_runtime_detection": "true or false",
    "disable_shm_size_detection": "true or false",
    "use_podman": "true or false",
}
NODE = {
    "node_config": "mapping",
    "resources": "mapping",
    "labels": "mapping",
    "min_workers": MACHINES,
    "max_workers": MACHINES,
    "idle_timeout_s": "number",
    "priority": "whole number",
    "initialization_commands": COMMANDS,
    "worker_setup_commands": COMMANDS,
    "docker": "mapping",
}
NODE_DOCKER = {"pull_before_run": "true or false", "worker_image": "text", "worker_run_options": "list"}
PROVIDER = {
    "type": "text",
    "region": "text",
    "availability_zone": "text",
    "project_id": "text",
    "head_ip": "text",
    "worker_ips": "list",
    "coordinator_address": "text",
    "cache_stopped_nodes": "true or false",
    "use_internal_ips": "true or false",
    "security_group": "mapping",
    "key_pair": "mapping",
    "location": "text",
    "resource_group": "text",
}
"""Of the providers below; a provider may have keys of its own besides."""
NEEDED = {
    "aws": ("region",),
    "gcp": ("region", "availability_zone", "project_id"),
    "azure": ("location", "resource_group"),
    "local": ("head_ip", "worker_ips"),
}
"""What each provider cannot do without; Ray tells it only once machines are asked for, or not at all."""
PLACES = {"region": "where machines are started", "availability_zone": "where in the region they are started"}


def check_keys(config: Mapping[str, Any], found: Findings) -> None:
    """Names and types of every key, and what must be there."""
    _section("", config, TOP, found)
    for name, keys in (("auth", AUTH), ("docker", DOCKER)):
        _section(name, mapping(config.get(name)), keys, found)
    _provider(config, found)
    for name, node in mapping(config.get("available_node_types")).items():
        place = f"available_node_types.{name}"
        if not isinstance(node, Mapping):
            found.error(place, f"must be a mapping, got {shown(node)}")
            continue
        _section(place, node, NODE, found)
        _section(f"{place}.docker", mapping(node.get("docker")), NODE_DOCKER, found)
        missing = [key for key in ("node_config", "resources") if key not in node]
        for key in missing:
            found.error(f"{place}.{key}", "missing; Ray needs it, {} where there is nothing to say")
        _resources(place, node, found)
    if _is_missing(config, "cluster_name"):
        found.error("cluster_name", "missing; machines are told apart by it: clusters named alike end each other's")
    if is_well(config, "auth") and _is_missing(mapping(config.get("auth")), "ssh_user"):
        found.error("auth.ssh_user", "missing; say as whom to log in on each machine, as in ssh_user: ubuntu")


def _provider(config: Mapping[str, Any], found: Findings) -> None:
    provider = mapping(config.get("provider"))
    kind = text(provider.get("type"))
    if not is_well(config, "provider"):
        return
    if _is_missing(provider, "type"):
        found.error(
            "provider.type" if "provider" in config else "provider", f"missing; name one of {', '.join(NEEDED)}"
        )
    elif kind and kind not in NEEDED:
        kinds = ", ".join(NEEDED)
        found.error("provider.type", f"'{kind}' is not a provider known here ({kinds}){nearest(kind, NEEDED)}")
    for key, value in provider.items():
        if key in PROVIDER:
            _typed(f"provider.{key}", value, PROVIDER[key], found)
        elif hint := nearest(key, PROVIDER):
            found.error(f"provider.{key}", f"unknown key{hint}")
    local = kind == "local" and "coordinator_address" in provider
    for key in () if local else NEEDED.get(kind, ()):
        if _is_missing(provider, key):
            what = f" ({PLACES[key]})" if key in PLACES else ""
            found.error(f"provider.{key}", f"missing; provider {kind} needs it{what}")


def _section(place: str, given: Mapping[str, Any], keys: Mapping[str, str], found: Findings) -> None:
    for key, value in given.items():
        where = f"{place}.{key}" if place else str(key)
        if key in keys:
            _typed(where, value, keys[key], found)
        else:
            found.error(where, f"unknown key{nearest(str(key), keys) or '; Ray would refuse it'}")


def is_well(config: Mapping[str, Any], key: str) -> bool:
    """Whether a key of the file is left out or of its type; else that is told, and nothing that follows from it."""
    return key not in config or _is(config[key], TOP[key])


def _is_missing(given: Mapping[str, Any], key: str) -> bool:
    """Whether a key is not there, or says nothing; `null` is a wrong type, which is told with the types."""
    return key not in given or given[key] in ("", [])


def _resources(place: str, node: Mapping[str, Any], found: Findings) -> None:
    for key, value in mapping(node.get("resources")).items():
        if whole(value) is None or value < 0:
            found.error(f"{place}.resources.{key}", f"must be a whole number from 0, got {shown(value)}")
    for key, value in mapping(node.get("labels")).items():
        if not isinstance(value, str):
            found.error(f"{place}.labels.{key}", f"must be a text, got {shown(value)}; quote it")


def _typed(place: str, value: Any, kind: str, found: Findings) -> None:
    if not _is(value, kind):
        example = ', as in ["ray stop"]' if kind == COMMANDS else ""
        found.error(place, f"must be a {kind.removesuffix(OF_MACHINES)}{example}, got {shown(value)}")
    elif kind in (MACHINES, "whole number", "number") and value < 0 and not place.endswith("priority"):
        found.error(place, f"must be 0 or more, got {shown(value)}")
    elif kind in LIMITS and value > LIMITS[kind]:
        found.error(place, f"must be at most {LIMITS[kind]:,}, got {shown(value)}; nobody means so many")


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "whole number" | "whole number of machines":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
        case "true or false":
            return isinstance(value, bool)
        case "mapping":
            return isinstance(value, Mapping)
        case "list":
            return isinstance(value, list)
        case _:
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
