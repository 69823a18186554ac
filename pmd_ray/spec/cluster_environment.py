"""What the processes of a launcher file's nodes see: variables, and every command that is run on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pmd_ray.spec.cluster_findings import mapping, texts
from pmd_ray.spec.cluster_shell import ASSIGNMENT, Command, commands_of, docker_options

ROLES = ("head", "worker")
OPTIONS = re.compile(r"run_options\[\d+\]$")
"""The places of Docker options; every other place is a command."""


@dataclass(frozen=True)
class Role:
    """The head, or the workers."""

    name: str
    items: tuple[tuple[str, str], ...]
    """Place and text of each command and Docker option, as written."""
    options: tuple[tuple[str, str, str], ...]
    """Place, name and value of each Docker option."""
    commands: tuple[tuple[str, Command], ...]
    """Each program's call with its place. Ray runs every item by itself: none sees what another one exported."""

    @property
    def starts(self) -> list[tuple[str, Command]]:
        """The calls by which the launcher starts Ray."""
        here = f"{self.name}_start_ray_commands"
        return [one for one in self.commands if one[1].ray_start is not None and one[0].startswith(here)]

    @property
    def variables(self) -> Mapping[str, str]:
        """What Ray's processes see; without a start, what the containers have."""
        return self.starts[-1][1].variables if self.starts else _containers(self.options)


def role_of(config: Mapping[str, Any], name: str) -> Role:
    """Gather what a launcher file says of the head or of the workers."""
    items = tuple(_items(config, name))
    options = tuple(docker_options(item for item in items if OPTIONS.search(item[0])))
    inside = _containers(options)
    commands = [
        (place, command)
        for place, text in items
        if not OPTIONS.search(place)
        # Before the container is started, its variables are not there.
        for command in commands_of(text, {} if "initialization_commands" in place else inside)
    ]
    return Role(name, items, options, tuple(commands))


def roles_of(config: Mapping[str, Any]) -> tuple[Role, ...]:
    """The head and the workers."""
    return tuple(role_of(config, name) for name in ROLES)


def all_commands(config: Mapping[str, Any]) -> list[tuple[str, Command]]:
    """Every program's call of the file once, with its place."""
    told = []
    for role in roles_of(config):
        told += [one for one in role.commands if one not in told]
    return told


def all_options(config: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Every Docker option of the file once: place, name, value."""
    return list(dict.fromkeys(one for role in roles_of(config) for one in role.options))


def _containers(options: tuple[tuple[str, str, str], ...]) -> dict[str, str]:
    given = [value for _, name, value in options if name in ("-e", "--env")]
    # `-e NAME` takes the value that the machine has, which is none.
    parts = [match.groups() if (match := ASSIGNMENT.fullmatch(value)) else (value, "") for value in given]
    return {key: value for key, value in parts}


def _items(config: Mapping[str, Any], role: str) -> Iterator[tuple[str, str]]:
    docker = mapping(config.get("docker"))
    for key in ("run_options", f"{role}_run_options"):
        yield from _numbered(f"docker.{key}", docker.get(key))
    keys = ("initialization_commands", "setup_commands", f"{role}_setup_commands", f"{role}_start_ray_commands")
    for key in keys:
        yield from _numbered(key, config.get(key))
    head = config.get("head_node_type")
    for name, node in mapping(config.get("available_node_types")).items():
        if (name == head) == (role == "head"):
            inner = mapping(node)
            for key in ("initialization_commands", "worker_setup_commands"):
                yield from _numbered(f"available_node_types.{name}.{key}", inner.get(key))
            options = mapping(inner.get("docker")).get("worker_run_options")
            yield from _numbered(f"available_node_types.{name}.docker.worker_run_options", options)


def _numbered(place: str, value: Any) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(texts(value)):
        yield f"{place}[{number}]", text
