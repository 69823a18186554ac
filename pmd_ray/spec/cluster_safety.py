"""Who can reach a cluster, and what a file gives away: open ports, authentication, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pmd_ray.spec.cluster_environment import ROLES, all_commands, role_of
from pmd_ray.spec.cluster_findings import Findings, listed, mapping, shown

SSH = 22
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_FILE = "~/.ray/auth_token"
"""Where every node and client keeps the token (mode 600)."""
LISTENS = re.compile(r"--(dashboard-host|host|bind_all|ip)(?:[=\s]+([\w.:*\[\]]+))?")
SERVERS = re.compile(r"\b(ray\s+start|tensorboard|jupyter)\b")
NEVER_ALONE = "would start Ray with its dashboard and job server open to the network and without a token"

SECRETS = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an AWS secret key": re.compile(
        r"aws_(?:secret_access_key|session_token)['\"]?\s*[:=]\s*['\"]?(?!\$)[\w/+=]{16,}", re.I
    ),
    "a Ray token": re.compile(r"RAY_AUTH_TOKEN=['\"]?(?!\$|/|~)[^\s'\"]+"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}\b"),
    "a password or token": re.compile(
        r"\b\w*(?:password|passwd|secret|api_?key|(?<!auth_)token)(?:_?key)?['\"]?\s*[:=]\s*['\"]?(?![$/~{])[^\s'\"$/]{8,}",
        re.I,
    ),
    "64 hexadecimal digits, as a Ray token has": re.compile(r"(?<![\w:])[0-9a-fA-F]{64}\b"),
}
SECRET_KEY = re.compile(r"password|passwd|secret_?access_?key|session_?token|api_?key|auth_?token|private_key$", re.I)
WAY_OUT = "take it out, and change it where it is valid: whoever has the file has it"


def check_access(config: Mapping[str, Any], found: Findings) -> None:
    """Ports, authentication and options of a launcher file."""
    provider = mapping(config.get("provider"))
    _security_group(mapping(provider.get("security_group")), found)
    if provider.get("type") == "aws" and "security_group" not in provider:
        found.warn("provider.security_group", "missing; Ray opens SSH to the whole internet: name a group of your own")
    for place, command in all_commands(config):
        if SERVERS.search(command):
            _listening(place, command, found)
        if re.search(r"(^|\s)--privileged\b", command):
            found.warn(place, "--privileged gives the container the machine; nothing here needs it, leave it out")
        if "run_options" in place and re.match(r"\s*(-p|--publish)\b", command):
            found.error(place, f"{shown(command)} opens a port; containers share the machine's network, leave it out")
    for role in ROLES:
        _authenticated(config, role, found)
    mounts = mapping(config.get("file_mounts"))
    if TOKEN_FILE not in mounts and not any("RAY_AUTH_TOKEN_PATH" in role_of(config, role).variables for role in ROLES):
        found.error(
            "file_mounts",
            f"no token reaches the nodes; add {TOKEN_FILE}: {TOKEN_FILE} (pmd cluster token makes one on this machine)",
        )


def check_secrets(document: Any, found: Findings) -> None:
    """Secrets written into a file, wherever they stand; a message never repeats them."""
    for place, key, value in _leaves(document):
        named = next((what for what, pattern in SECRETS.items() if pattern.search(value)), None)
        if named is None and SECRET_KEY.search(key) and len(value) >= 8 and not value.startswith(("$", "~", "/")):
            named = "a secret"
        if named:
            found.error(place, f"holds {named} (in {len(value)} characters); {WAY_OUT}")


def _leaves(value: Any, place: str = "", key: str = "") -> Iterator[tuple[str, str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{place}.{name}" if place else str(name), str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{number}]", key)
    elif isinstance(value, str):
        yield place, key, value


def _security_group(group: Mapping[str, Any], found: Findings) -> None:
    for number, rule in enumerate(listed(group.get("IpPermissions"))):
        place = f"provider.security_group.IpPermissions[{number}]"
        one = mapping(rule)
        first, last = one.get("FromPort"), one.get("ToPort")
        if one.get("IpProtocol") == "tcp" and first == SSH and last == SSH:
            continue
        inside = one.get("UserIdGroupPairs") and not (one.get("IpRanges") or one.get("Ipv6Ranges"))
        if inside:
            continue
        ports = "all ports" if first in (None, -1) else f"port {first}" if first == last else f"ports {first} to {last}"
        found.error(place, f"opens {ports}; only SSH ({SSH}) may be open: the dashboard is reached through it")


def _listening(place: str, command: str, found: Findings) -> None:
    for option, value in LISTENS.findall(command):
        if option == "ip" and not re.search(r"\bjupyter\b", command):
            continue
        if option == "bind_all" or (value and value.strip("[]") not in LOOPBACK):
            given = f"--{option} {value}".strip()
            found.error(place, f"{given} listens to the network; say 127.0.0.1, and reach it by `ray dashboard FILE`")


def _authenticated(config: Mapping[str, Any], name: str, found: Findings) -> None:
    role, place = role_of(config, name), f"{name}_start_ray_commands"
    if not role.starts:
        found.error(place, f"missing, or without `ray start`: Ray's defaults {NEVER_ALONE}; write them out")
        return
    mode = role.variables.get("RAY_AUTH_MODE")
    if mode != "token":
        given = "is not set" if mode is None else f"is '{mode}'"
        found.error(place, f"RAY_AUTH_MODE {given}: any process that reaches Ray runs code; export RAY_AUTH_MODE=token")
    if "--dashboard-host" not in " ".join(role.starts) and name == "head":
        found.warn(place, "no --dashboard-host; say 127.0.0.1, so that another default does not open it")
