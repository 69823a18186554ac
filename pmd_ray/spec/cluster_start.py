"""How a launcher file starts Ray: a head that asks for workers, workers that find it, names that the provider takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pmd_ray.spec.cluster_environment import Role, roles_of
from pmd_ray.spec.cluster_findings import Findings, mapping, shown, text, whole
from pmd_ray.spec.cluster_shell import option_values

HEAD_IP = "RAY_HEAD_IP"
"""Ray sets it for the workers' commands."""
PORT = "6379"
"""Of the head, where its command names none."""
A_PORT = re.compile(r"[1-9][0-9]{0,4}")
CONFIG = "--autoscaling-config=~/ray_bootstrap_config.yaml"
GCP_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""Of a cluster: Ray makes the names of machines and labels of it."""


def check_starts(config: Mapping[str, Any], found: Findings) -> None:
    """`ray start` of the head and of the workers."""
    head, worker = roles_of(config)
    _head(head, found)
    ports = [port for _, command in head.starts for port in option_values(command.ray_start or (), "--port")]
    port = ports[-1] if ports else PORT
    _worker(worker, text(mapping(config.get("provider")).get("head_ip")), port, found)


def check_addresses(config: Mapping[str, Any], found: Findings) -> None:
    """Names, zones and addresses that go together."""
    provider = mapping(config.get("provider"))
    kind, name = provider.get("type"), text(config.get("cluster_name"))
    if kind == "gcp" and name and not GCP_NAME.fullmatch(name):
        found.error(
            "cluster_name",
            f"Google Cloud takes a letter, then letters, digits and hyphens, all small, 40 at most, got {shown(name)}",
        )
    region = text(provider.get("region"))
    for zone in text(provider.get("availability_zone")).split(",") if region else ():
        if zone.strip() and not zone.strip().startswith(region):
            found.error("provider.availability_zone", f"{shown(zone.strip())} is no zone of region {region}")
    if kind == "local":
        _machines(config, provider, found)


def _machines(config: Mapping[str, Any], provider: Mapping[str, Any], found: Findings) -> None:
    place, given = "provider.worker_ips", provider.get("worker_ips")
    if not isinstance(given, list):
        return
    seen = {provider.get("head_ip")} if isinstance(provider.get("head_ip"), str) else set()
    for number, address in enumerate(given):
        if not isinstance(address, str) or not address:
            found.error(f"{place}[{number}]", f"must be an address in quotes, got {shown(address)}")
        elif address in seen:
            found.error(f"{place}[{number}]", f"{shown(address)} is the head, or named twice; each machine joins once")
        else:
            seen.add(address)
    most = whole(config.get("max_workers"))
    if most is not None and most < len(given):
        found.warn("max_workers", f"is {most}, so that {len(given) - most} of {len(given)} machines never join")


def _head(role: Role, found: Findings) -> None:
    for place, command in role.starts:
        options = command.ray_start or ()
        if "--head" not in options:
            found.error(place, "ray start without --head: there is no cluster to join yet; add --head")
        elif not any(option_values(options, "--autoscaling-config")):
            found.error(place, f"no --autoscaling-config: no worker would ever be started; add {CONFIG}")


def _worker(role: Role, head_ip: str, port: str, found: Findings) -> None:
    # What a variable holds is not known here.
    known = port if A_PORT.fullmatch(port) else None
    for place, command in role.starts:
        options = command.ray_start or ()
        address = (option_values(options, "--address") or [""])[-1]
        way_out = f"say --address=${HEAD_IP}:{known or PORT}"
        host, colon, asked = address.rpartition(":")
        if "--head" in options:
            found.error(place, f"ray start --head makes a cluster of its own of each worker; {way_out}")
        elif not address:
            found.error(place, f"ray start without --address: the worker joins nothing; {way_out}")
        elif HEAD_IP not in address and (not head_ip or host != head_ip):
            found.error(place, f"--address {shown(address)} is not where Ray puts the head; {way_out}")
        elif not colon:
            found.error(place, f"--address {shown(address)} names no port, without which Ray does not start; {way_out}")
        elif known and A_PORT.fullmatch(asked) and asked != known:
            found.error(place, f"--address {shown(address)}: the head listens on port {known}, not {asked}; {way_out}")
