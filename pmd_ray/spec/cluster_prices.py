"""What a cluster costs per hour at most, from a small table of approximate list prices."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pmd_ray.spec.cluster_findings import mapping, text, whole

TABLE = Path(__file__).with_name("cluster_prices.csv")
AS_OF = "mid 2025"
REGIONS = {"aws": "us-east-1", "gcp": "us-central1"}
SAID = (
    f"approximate list prices of {AS_OF}, AWS {REGIONS['aws']} and GCP {REGIONS['gcp']}; disks and traffic not counted"
)
RAYS_DEFAULT = 2
"""`max_workers` where a file does not say it."""
MACHINE_KEYS = {"aws": "InstanceType", "gcp": "machineType"}


@dataclass(frozen=True)
class Price:
    """One type of machine; prices in US dollars per hour."""

    provider: str
    machine: str
    cpus: int
    gpus: int
    gpu: str
    on_demand: float
    spot: float
    """Moves with demand, never above `on_demand`."""


@dataclass(frozen=True)
class Cost:
    """What a file may start at once."""

    at_most: float
    """Dollars per hour if every machine costs its price on demand."""
    spot: float
    """Dollars per hour if every spot machine costs what the table says."""
    unknown: tuple[str, ...]
    """Machines without a price, which the sums leave out."""
    machines: tuple[tuple[str, str, int, float], ...]
    """Node type, machine, count, and dollars per hour of each on demand: the dearest that the limits allow."""


@cache
def prices() -> dict[tuple[str, str], Price]:
    """The table, by provider and machine."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [
            Price(
                provider=row["provider"],
                machine=row["machine"],
                cpus=int(row["vcpus"]),
                gpus=int(row["gpus"]),
                gpu=row["gpu"],
                on_demand=float(row["on_demand"]),
                spot=float(row["spot"]),
            )
            for row in csv.DictReader(file)
        ]
    return {(row.provider, row.machine): row for row in rows}


def price_of(provider: str, machine: str) -> Price | None:
    """The price of a machine, None where it is not in the table."""
    return prices().get((provider, machine))


def node_types(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The node types of a launcher file; what is no mapping is left out, and told with the types of keys."""
    given = mapping(config.get("available_node_types"))
    return {name: mapping(node) for name, node in given.items() if isinstance(node, Mapping)}


def node_configs(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each node type asks its provider for."""
    return {
        name: mapping(node["node_config"])
        for name, node in node_types(config).items()
        if isinstance(node.get("node_config"), Mapping)
    }


def machine_of(provider: str, node: Mapping[str, Any]) -> str | None:
    """The machine that a node type starts."""
    given = mapping(node.get("node_config")).get(MACHINE_KEYS.get(provider, ""))
    return given.rpartition("/")[2] if isinstance(given, str) else None


def is_spot(node: Mapping[str, Any]) -> bool:
    """Whether a node type starts machines that may be taken away (AWS spot, GCP spot or preemptible)."""
    machine = mapping(node.get("node_config"))
    scheduling = machine.get("scheduling")
    ways = scheduling if isinstance(scheduling, list) else [scheduling]
    return mapping(machine.get("InstanceMarketOptions")).get("MarketType") == "spot" or any(
        mapping(way).get("preemptible") is True or mapping(way).get("provisioningModel") == "SPOT" for way in ways
    )


def cost_of(config: Mapping[str, Any]) -> Cost | None:
    """The dearest set of machines that a launcher file's limits allow; None for machines that nobody bills."""
    provider = text(mapping(config.get("provider")).get("type"))
    if provider not in MACHINE_KEYS:
        return None
    types = node_types(config)
    priced = {name: price_of(provider, machine_of(provider, node) or "") for name, node in types.items()}
    chosen: list[tuple[str, str, int, float]] = []
    unknown, at_most, spot = [], 0.0, 0.0
    for name, count in _dearest(config, {name: price.on_demand if price else 0.0 for name, price in priced.items()}):
        price, machine = priced[name], machine_of(provider, types[name]) or "?"
        if price is None:
            unknown += [machine] if machine not in unknown else []
        elif count:
            chosen.append((name, machine, count, price.on_demand))
            at_most += count * price.on_demand
            spot += count * (price.spot if is_spot(types[name]) else price.on_demand)
    return Cost(at_most=at_most, spot=spot, unknown=tuple(unknown), machines=tuple(chosen))


def _dearest(config: Mapping[str, Any], dearness: Mapping[str, float]) -> list[tuple[str, int]]:
    """The dearest machines that the limits allow, by node type, the head's first."""
    types, head = node_types(config), text(config.get("head_node_type"))
    most = whole(config.get("max_workers"))
    left = RAYS_DEFAULT if most is None else max(0, most)
    counts = {}
    for name in sorted(types, key=lambda name: -dearness[name]):
        own = whole(types[name].get("max_workers"))
        # Without a limit of its own: none beside the head, and all of another type.
        own = (0 if name == head else left) if own is None else max(0, own)
        counts[name] = min(left, own)
        left -= counts[name]
    if head in counts:
        counts[head] += 1
    return sorted(counts.items(), key=lambda one: (one[0] != head, -dearness[one[0]]))
