"""What Ray's autoscaler tells of a cluster: how large it may become, and whether nodes may still come."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

STATUS = b"__autoscaling_status"
"""Where the older autoscaler keeps what it tells; the newer one tells the limits of its file."""
OWN_MACHINES = "local.cluster.node"
"""The one type of nodes of the launcher's provider `local`."""


def may_come(types: Mapping[str, str], *, starting: bool) -> bool:
    """Whether nodes may be added, by an autoscaler's report.

    Args:
        types: Of its nodes, by name or address.
        starting: Whether it starts some now.
    """
    if set(types.values()) == {OWN_MACHINES}:
        return starting  # all that there are were asked for when the cluster was started
    # Nodes that were started by hand are of a type each; of some autoscalers nothing is told here.
    return not types or any(name != f"node_{node}" for node, name in types.items())


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A type of nodes that an autoscaler may start."""

    resources: Mapping[str, float]
    """Of each of its nodes."""
    most: float
    """Nodes at once; infinite where nobody says."""


def growth() -> list[Growth] | None:
    """What the connected cluster may grow to; None where its autoscaler does not say."""
    from ray._private.state import state

    told = state.get_cluster_config()
    if told is None or not told.node_group_configs:
        return None
    return [
        # Ray writes -1 for what is not limited.
        Growth(
            resources={name: math.inf if amount == -1 else float(amount) for name, amount in one.resources.items()},
            most=math.inf if one.max_count == -1 else float(one.max_count),
        )
        for one in told.node_group_configs
    ]


def more_may_come() -> bool:
    """Whether nodes may still join the connected cluster; True where nobody says."""
    from ray.experimental.internal_kv import _internal_kv_get

    told = _internal_kv_get(STATUS) if growth() is None else None
    report = (json.loads(told).get("autoscaler_report") if told else None) or {}
    types = report.get("node_type_mapping") or {}
    return may_come(types, starting=bool(report.get("pending_nodes") or report.get("pending_launches")))
