"""Who can reach a cluster, and what a file gives away: open ports, authentication, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pmd_ray.spec.cluster_environment import Role, all_commands, all_options, roles_of
from pmd_ray.spec.cluster_findings import Findings, listed, mapping, shown
from pmd_ray.spec.cluster_keys import is_well
from pmd_ray.spec.cluster_prices import node_configs
from pmd_ray.spec.cluster_shell import Command, option_values

SSH = 22
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_FILE = "~/.ray/auth_token"
"""Where every node and client keeps the token (mode 600)."""
TOKEN_PLACE = re.compile(r"(?:~|/.*)/\.ray/auth_token")
"""The same, with the user's folder written out."""
SERVERS = {
    ("ray", "start"): ("--dashboard-host",),
    ("ray.scripts.scripts", "start"): ("--dashboard-host",),
    ("tensorboard",): ("--host",),
    ("tensorboard.main",): ("--host",),
    ("jupyter",): ("--ip", "--ServerApp.ip", "--NotebookApp.ip"),
}
"""Programs that answer requests, with the options that say to whom."""
NEVER_ALONE = "would start Ray with its dashboard and job server open to the network and without a token"

SECRETS = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an AWS secret key": re.compile(
        r"aws_(?:secret_access_key|session_token)['\"]?(?:\s*[:=]\s*|\s+)['\"]?(?!\$)[\w/+=]{8,}", re.I
    ),
    "a Ray token": re.compile(r"RAY_AUTH_TOKEN=['\"]?(?!\$|/|~)[^\s'\"]+"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}\b"),
    "a password or token": re.compile(
        r"\b\w*(?:password|passwd|secret|api_?key|(?<!auth_)token)(?:_?key)?['\"]?\s*[:=]\s*['\"]?(?![$/~{])[^\s'\"$/]{8,}",
        re.I,
    ),
    "a password in an address": re.compile(r"://[^/\s:@]+:(?!\$|\d+/)[^@\s]+@"),
    "a password or token as an option": re.compile(
        r"--[\w.-]*(?:password|passwd|secret|api[-_]?key|token)(?:=|\s+)['\"]?(?![$~/{-])[^\s'\"$]{4,}", re.I
    ),
    "a W&B key": re.compile(r"\bwandb\s+login\s+(?:--\S+\s+)*[0-9a-f]{20,}"),
    "a token of a request": re.compile(r"\bBearer\s+(?!\$)[\w.~+/-]{12,}"),
    "64 hexadecimal digits, as a Ray token has": re.compile(r"(?<![\w:])[0-9a-fA-F]{64}\b"),
}
SECRET_KEY = re.compile(r"password|passwd|secret_?access_?key|session_?token|api_?key|auth_?token|private_key$", re.I)
AWS_SECRET = re.compile(r"[\w/+=]{40}")
"""May begin with a slash, as a path does."""
WAY_OUT = "take it out, and change it where it is valid: whoever has the file has it"


def check_access(config: Mapping[str, Any], found: Findings) -> None:
    """Ports, authentication and options of a launcher file."""
    provider = mapping(config.get("provider"))
    _security_group(mapping(provider.get("security_group")), found)
    if provider.get("type") == "aws":
        _groups(config, provider, found)
    for place, command in all_commands(config):
        _listening(place, command, found)
    for place, name, value in all_options(config):
        _option(place, name, value, found)
    for role in roles_of(config):
        _authenticated(config, role, found)
    by_mount = any(map(TOKEN_PLACE.fullmatch, mapping(config.get("file_mounts"))))
    by_path = all("RAY_AUTH_TOKEN_PATH" in role.variables for role in roles_of(config))
    if is_well(config, "file_mounts") and not by_mount and not by_path:
        found.error(
            "file_mounts",
            f"no token reaches the nodes; add {TOKEN_FILE}: {TOKEN_FILE} (pmd cluster token makes one on this machine)",
        )


def _groups(config: Mapping[str, Any], provider: Mapping[str, Any], found: Findings) -> None:
    if "security_group" not in provider:
        found.warn(
            "provider.security_group",
            "missing; Ray opens SSH to the whole internet, also in a group of a new name: make one with rules of your "
            "own beforehand, and name it here",
        )
    for name, machine in node_configs(config).items():
        for key in ("SecurityGroupIds", "SecurityGroups", "NetworkInterfaces"):
            if key in machine:
                found.warn(
                    f"available_node_types.{name}.node_config.{key}",
                    "takes the place of provider.security_group; what its groups open is not seen here",
                )


def _option(place: str, name: str, value: str, found: Findings) -> None:
    """An option of `docker run`."""
    if name == "--privileged":
        found.warn(place, "--privileged gives the container the machine; nothing here needs it, leave it out")
    elif name in ("-p", "-P", "--publish", "--publish-all"):
        given = shown(f"{name} {value}".strip())
        found.error(place, f"{given} opens a port; containers share the machine's network, leave it out")
    elif name == "--env-file":
        found.warn(place, f"--env-file {shown(value)}: what a file of each machine sets is not seen here; write -e")
    elif name in ("-e", "--env") and re.match(r"RAY_AUTH_TOKEN=[$`]", value):
        found.error(
            place,
            "RAY_AUTH_TOKEN stands in the command line of docker run, which every user of the machine can list; "
            f"copy the token as a file, by file_mounts ({TOKEN_FILE})",
        )


def check_secrets(document: Any, found: Findings) -> None:
    """Secrets written into a file, wherever they stand; a message never repeats them."""
    for place, key, value in _leaves(document):
        named = next((what for what, pattern in SECRETS.items() if pattern.search(value)), None)
        if named is None and not place.startswith("file_mounts") and _is_secret(key, value):
            named = "a secret"
        if named:
            found.error(place, f"holds {named} (in {len(value)} characters); {WAY_OUT}")


def _is_secret(key: str, value: str) -> bool:
    """By its key, unless the value says where the secret is."""
    elsewhere = value.startswith(("$", "~")) or (value.startswith("/") and not AWS_SECRET.fullmatch(value))
    least = 1 if key == "RAY_AUTH_TOKEN" else 8
    return SECRET_KEY.search(key) is not None and len(value) >= least and not elsewhere


def _leaves(value: Any, place: str = "", key: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, str, str]]:
    """Place, key and value of each text; what YAML's anchors repeat is told once, and may hold itself."""
    seen = set() if seen is None else seen
    if isinstance(value, str):
        yield place, key, value
    elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        if isinstance(value, Mapping):
            # `{name: RAY_AUTH_TOKEN, value: ...}`, as Kubernetes writes variables.
            named = {"value": value["name"]} if isinstance(value.get("name"), str) else {}
            for name, inner in value.items():
                where = f"{place}.{name}" if place else str(name)
                yield from _leaves(inner, where, named.get(name, str(name)), seen)
        else:
            for number, inner in enumerate(value):
                yield from _leaves(inner, f"{place}[{number}]", key, seen)


def _security_group(group: Mapping[str, Any], found: Findings) -> None:
    for number, rule in enumerate(listed(group.get("IpPermissions"))):
        place = f"provider.security_group.IpPermissions[{number}]"
        one = mapping(rule)
        first, last = one.get("FromPort"), one.get("ToPort")
        if one.get("IpProtocol") == "tcp" and first == SSH and last == SSH:
            continue
        outside = any(one.get(key) for key in ("IpRanges", "Ipv6Ranges", "PrefixListIds"))
        if one.get("UserIdGroupPairs") and not outside:
            continue
        ports = "all ports" if first in (None, -1) else f"port {first}" if first == last else f"ports {first} to {last}"
        found.error(place, f"opens {ports}; only SSH ({SSH}) may be open: the dashboard is reached through it")


def _listening(place: str, command: Command, found: Findings) -> None:
    way_out = "say 127.0.0.1, and reach it by `ray dashboard FILE`"
    for names, options in SERVERS.items():
        words = command.after(*names)
        if words is None:
            continue
        if {"--bind_all", "--bind-all"} & set(words):
            found.error(place, f"--bind_all listens to the network; {way_out}")
        for option in options:
            for host in option_values(words, option):
                if host.strip("[]") not in LOOPBACK:
                    may = "may listen" if "$" in host else "listens"
                    found.error(place, f"{option} {host} {may} to the network; {way_out}")


def _authenticated(config: Mapping[str, Any], role: Role, found: Findings) -> None:
    place = f"{role.name}_start_ray_commands"
    if not role.starts and is_well(config, place):
        found.error(place, f"missing, or without `ray start`: Ray's defaults {NEVER_ALONE}; write them out")
    for start in (command for _, command in role.commands if command.ray_start is not None):
        mode = start.variables.get("RAY_AUTH_MODE")
        if mode != "token":
            given = "is not set" if mode is None else f"is '{mode}'"
            found.error(
                place, f"RAY_AUTH_MODE {given}: any process that reaches Ray runs code; export RAY_AUTH_MODE=token"
            )
        if role.name == "head" and not option_values(start.words, "--dashboard-host"):
            found.warn(place, "no --dashboard-host; say 127.0.0.1, so that another default does not open it")
