"""Whether all nodes of a launcher file see one storage: a bucket, or a folder that is mounted on each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pmd_ray.spec.cluster_environment import all_commands, all_options, roles_of
from pmd_ray.spec.cluster_findings import Findings, listed, mapping, shown, text, whole
from pmd_ray.spec.cluster_prices import node_configs

STORAGE = "PMD_STORAGE"
GOOGLE = ("gs", "gcs")
SHARED = ("s3", *GOOGLE, "abfs", "abfss", "hdfs", "viewfs")
"""Schemes of `store/location.py`, which lies above; a test compares them."""


@dataclass(frozen=True)
class Cloud:
    """Whose machines and buckets they are."""

    name: str
    schemes: tuple[str, ...]


CLOUDS = {
    "aws": Cloud("AWS", ("s3",)),
    "gcp": Cloud("Google Cloud", GOOGLE),
    "azure": Cloud("Azure", ("abfs", "abfss")),
}
"""By the launcher's name of a provider."""
MOUNTS = re.compile(
    r"(?:/(?:usr/(?:local/)?)?s?bin/)?(?:mount|mount[.-]\w+|mountpoint|findmnt|s3fs|gcsfuse|sshfs|goofys|blobfuse2?)"
    r"|/proc/(?:self/)?mounts"
)
"""Words of commands that mount, or tell whether something is mounted (`grep -q FOLDER /proc/mounts` does)."""
VOLUMES = ("-v", "--volume", "--mount")
NOT_YET = re.compile(r"change-me|\b(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d+\b", re.I)
"""Placeholders of the shipped files; the addresses are reserved for documentation."""


def check_storage(config: Mapping[str, Any], found: Findings) -> None:
    """PMD_STORAGE is set alike on all nodes, and shared."""
    places = {role.name: role.variables.get(STORAGE) for role in roles_of(config)}
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
    given = str(places["worker"])
    if fault := address_fault(given):
        found.error(STORAGE, fault)
        return
    place = folder_of(given)
    if place is None:
        _bucket(config, given, found)
    elif _nodes(config) > 1 and not _is_mounted(config, place):
        found.error(
            STORAGE,
            f"{place} is a folder of each machine, not of the cluster: what one trains the others would not see; "
            f"name s3://BUCKET/PATH, or mount it ({place} in an initialization command with mount or mountpoint)",
        )
    elif mapping(config.get("docker")) and not _is_volume(config, place):
        found.error(STORAGE, f"{place} is not in the containers; add -v {place}:{place} to docker.run_options")


def address_fault(given: str) -> str | None:
    """What makes a value of PMD_STORAGE no place for all nodes, or None."""
    scheme, _, rest = given.partition("://")
    place = folder_of(given)
    if place is None and scheme not in SHARED:
        known = ", ".join(f"{name}://" for name in SHARED)
        return f"no storage is known by '{scheme}://'; name a folder that is mounted on each node, or one of {known}"
    if place is None and not rest.rpartition("@")[2].partition("?")[0].strip("/"):
        return f"{given} names no bucket; write {scheme}://BUCKET/PATH"
    if place is not None and not place.startswith("/"):
        return f"{given} is neither an address nor an absolute path; write s3://BUCKET/PATH or /FOLDER"
    return None


def folder_of(given: str) -> str | None:
    """The folder that a storage is, None for an address of something else."""
    if "://" not in given:
        return given
    return unquote(given.partition("://")[2]) if given.startswith("file://") else None


def check_placeholders(written: str, found: Findings) -> None:
    """What the shipped files leave to whoever uses them."""
    for number, line in enumerate(written.splitlines(), start=1):
        if match := NOT_YET.search(line.partition("#")[0]):
            found.warn(f"line {number}", f"{match[0]} stands for a value of your own")


def _bucket(config: Mapping[str, Any], address: str, found: Findings) -> None:
    """A machine reaches its provider's buckets by what it is (a profile, an account); keys have no place in a file."""
    provider, scheme = mapping(config.get("provider")).get("type"), address.partition("://")[0]
    own, whose = CLOUDS.get(text(provider)), next((one for one in CLOUDS.values() if scheme in one.schemes), None)
    # With an endpoint of its own it may be anybody's.
    if own and whose and own != whose and "endpoint" not in address:
        found.warn(
            STORAGE,
            f"{scheme}:// is {whose.name}'s, these machines are {own.name}'s: what they are lets them into their own "
            f"buckets alone, and traffic between clouds is paid for; name {own.schemes[0]}://BUCKET/PATH",
        )
    for name, machine in node_configs(config).items():
        place = f"available_node_types.{name}.node_config"
        if provider == "aws" and scheme == "s3":
            profile = machine.get("IamInstanceProfile")
            if not any(text(mapping(profile).get(key)) for key in ("Name", "Arn")):
                given = f"must be {{Name: ...}} or {{Arn: ...}}, got {shown(profile)}" if profile else "missing"
                found.error(
                    f"{place}.IamInstanceProfile",
                    f"{given}; without one the machine cannot reach {address} (and keys do not belong into a file)",
                )
        # Ray gives the head an account of its own.
        is_head = name == config.get("head_node_type")
        if provider == "gcp" and scheme in GOOGLE and not is_head and not listed(machine.get("serviceAccounts")):
            found.error(
                f"{place}.serviceAccounts",
                f"missing; Ray gives workers no account, and without one the machine cannot reach {address}",
            )


def _nodes(config: Mapping[str, Any]) -> int:
    """Nodes at most, the head among them; 2 where the file does not say."""
    provider = mapping(config.get("provider"))
    if provider.get("type") == "local":
        addresses = provider.get("worker_ips")
        return 1 + len(addresses) if isinstance(addresses, list) else 2
    most = whole(config.get("max_workers"))
    return 2 if most is None else 1 + most


def _is_mounted(config: Mapping[str, Any], place: str) -> bool:
    return any(
        any(map(MOUNTS.fullmatch, command.words)) and _names(command.text, place) for _, command in all_commands(config)
    ) or any(
        name == "--mount" and "type=nfs" in value and _names(value, place) for _, name, value in all_options(config)
    )


def _is_volume(config: Mapping[str, Any], place: str) -> bool:
    return all(
        any(name in VOLUMES and _names(value, place) for _, name, value in role.options) for role in roles_of(config)
    )


def _names(said: str, place: str) -> bool:
    """Whether a command names the folder or one above it (never the root)."""
    parts = place.rstrip("/").split("/")
    above = ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]
    return any(re.search(rf"(?<![\w/-]){re.escape(folder)}/?(?![\w/-])", said) for folder in above if folder)
