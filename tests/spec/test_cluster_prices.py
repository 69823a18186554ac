"""What a file may cost per hour: the dearest set of machines that its limits allow."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from spec.cluster_files import AWS, GCP, LOCAL, documents

from pmd_ray.spec.cluster_prices import cost_of, machine_of, price_of, prices


def test_the_table_is_whole() -> None:
    for (provider, machine), price in prices().items():
        assert provider in ("aws", "gcp")
        assert price.machine == machine
        assert 0 < price.spot < price.on_demand
        assert bool(price.gpus) == bool(price.gpu)


def test_every_machine_of_shipped_files_has_a_price() -> None:
    for provider, file in (("aws", AWS), ("gcp", GCP)):
        for node in documents(file)[0]["available_node_types"].values():
            assert price_of(provider, machine_of(provider, node) or "") is not None


def test_machines_that_nobody_bills_have_no_cost() -> None:
    assert cost_of(documents(LOCAL)[0]) is None


def test_a_machine_without_a_price_is_named() -> None:
    config = documents(AWS)[0]
    config["available_node_types"]["gpu_1"]["node_config"]["InstanceType"] = "x9.huge"
    cost = cost_of(config)
    assert cost is not None
    assert cost.unknown == ("x9.huge",)
    assert all(machine != "x9.huge" for _, machine, _, _ in cost.machines)


MACHINES = sorted(machine for provider, machine in prices() if provider == "aws")


@given(
    st.lists(st.tuples(st.sampled_from(MACHINES), st.integers(0, 3), st.booleans()), min_size=1, max_size=3),
    st.integers(0, 5),
    st.tuples(st.sampled_from(MACHINES), st.none() | st.integers(0, 3)),
)
def test_no_allowed_set_costs_more(
    types: list[tuple[str, int, bool]], most: int, of_head: tuple[str, int | None]
) -> None:
    nodes: dict[str, Any] = {
        f"t{number}": {
            "max_workers": count,
            "resources": {},
            "node_config": {"InstanceType": name} | ({"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}),
        }
        for number, (name, count, spot) in enumerate(types)
    }
    machine, beside = of_head
    head: dict[str, Any] = {"resources": {}, "node_config": {"InstanceType": machine}}
    if beside is not None:
        head["max_workers"] = beside
    config = {
        "provider": {"type": "aws"},
        "max_workers": most,
        "head_node_type": "head",
        "available_node_types": {"head": head} | nodes,
    }
    cost = cost_of(config)
    assert cost is not None
    limits = [*((name, count) for name, count, _ in types), (machine, beside or 0)]
    each = [prices()["aws", name].on_demand for name, _ in limits]
    sets = [chosen for chosen in product(*(range(count + 1) for _, count in limits)) if sum(chosen) <= most]
    dearest = max(sum(n * price for n, price in zip(chosen, each, strict=True)) for chosen in sets)
    assert abs(cost.at_most - dearest - prices()["aws", machine].on_demand) < 1e-9
    assert cost.spot <= cost.at_most
