"""What the processes of a launcher file's nodes see: variables, and every command that is run on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pmd_ray.spec.cluster_findings import mapping, texts

ASSIGNED = re.compile(r"""(?:^|[\s;&|('"])([A-Za-z_]\w*)=("[^"]*"|'[^']*'|[^\s;&|)'"]*)""")
ROLES = ("head", "worker")


@dataclass(frozen=True)
class Role:
    """The head, or the workers."""

    name: str
    variables: Mapping[str, str]
    """As commands and Docker options set them; the last one wins."""
    commands: tuple[tuple[str, str], ...]
    """Place and text of each command and Docker option."""

    @property
    def starts(self) -> list[str]:
        """The commands that start Ray."""
        return [text for _, text in self.commands if re.search(r"\bray\s+start\b", text)]


def role_of(config: Mapping[str, Any], name: str) -> Role:
    """Gather what a launcher file says of the head or of the workers."""
    commands = tuple(_commands(config, name))
    variables: dict[str, str] = {}
    for place, text in commands:
        if "run_options" in place and not re.match(r"\s*(-e|--env)\b", text):
            continue
        variables |= {key: value.strip("'\"") for key, value in ASSIGNED.findall(text)}
    return Role(name, variables, commands)


def all_commands(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every command and Docker option of the file once, with its place."""
    return list(dict.fromkeys(one for name in ROLES for one in role_of(config, name).commands))


def _commands(config: Mapping[str, Any], role: str) -> Iterator[tuple[str, str]]:
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
