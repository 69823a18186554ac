"""The node types of a launcher file: limits, what they offer against what the machine has, images, spot machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pmd_ray.spec.cluster_findings import Findings, mapping, shown, whole
from pmd_ray.spec.cluster_prices import Price, is_spot, machine_of, price_of
from pmd_ray.spec.cluster_versions import TAG, doubtful_image, wrong_image
from pmd_ray.spec.errors import nearest

RAYS_DEFAULT = 2
"""`max_workers` where a file does not say it."""


def check_nodes(config: Mapping[str, Any], found: Findings, *, needs_gpu: bool | None = None) -> None:
    """Everything about node types.

    Args:
        needs_gpu: Whether the plan's stages ask for GPUs; None where no plan is given.
    """
    kind = mapping(config.get("provider")).get("type")
    types = {name: mapping(node) for name, node in mapping(config.get("available_node_types")).items()}
    _limits(config, types, found)
    _images(config, types, found)
    if kind == "local":
        if types:
            found.error("available_node_types", "provider local has none: Ray finds out what each machine has")
        return
    if not types:
        found.error("available_node_types", "missing; describe the head and at least one type of worker")
        return
    _head(config, types, found)
    for name, node in types.items():
        _machine(str(kind), name, node, found)
        if name != config.get("head_node_type"):
            _spot(str(kind), name, types, found)
    _needed(str(kind), types, found, needs_gpu=needs_gpu)


def _limits(config: Mapping[str, Any], types: Mapping[str, Mapping[str, Any]], found: Findings) -> None:
    most = whole(config.get("max_workers"))
    if "max_workers" not in config and types:
        found.warn("max_workers", f"missing; Ray takes {RAYS_DEFAULT}")
        most = RAYS_DEFAULT
    least = 0
    for name, node in types.items():
        place = f"available_node_types.{name}"
        own_least, own_most = whole(node.get("min_workers")) or 0, whole(node.get("max_workers"))
        least += own_least
        if own_most is not None and own_least > own_most:
            found.error(f"{place}.min_workers", f"{own_least} is above its max_workers, {own_most}; lower it")
        if most is not None and own_most is not None and own_most > most:
            found.error(
                f"{place}.max_workers", f"{own_most} is above the cluster's max_workers, {most}; raise that one"
            )
    if most is not None and least > most:
        found.error("max_workers", f"{most} is below the min_workers of all types together, {least}; raise it")
    own = whole(config.get("min_workers"))
    if own is not None and most is not None and own > most:
        found.error("min_workers", f"{own} is above max_workers, {most}; lower it")


def _head(config: Mapping[str, Any], types: Mapping[str, Mapping[str, Any]], found: Findings) -> None:
    head = str(config.get("head_node_type") or "")
    if not head:
        found.error("head_node_type", f"missing; name one of {', '.join(types)}")
        return
    if head not in types:
        found.error("head_node_type", f"no node type '{head}'; there are {', '.join(types)}{nearest(head, types)}")
        return
    if mapping(types[head].get("resources")).get("CPU") != 0:
        found.warn(
            f"available_node_types.{head}.resources",
            "tasks may run on the head, beside the driver and Ray's own services; say {CPU: 0}",
        )
    if is_spot(types[head]):
        found.error(f"available_node_types.{head}", "the head is a spot machine: the cluster ends when it is taken")


def _images(config: Mapping[str, Any], types: Mapping[str, Mapping[str, Any]], found: Findings) -> None:
    docker = mapping(config.get("docker"))
    images = {f"docker.{key}": docker.get(key) for key in ("image", "head_image", "worker_image")}
    for name, node in types.items():
        own = mapping(node.get("docker"))
        images[f"available_node_types.{name}.docker.worker_image"] = own.get("worker_image")
    for place, image in images.items():
        check_image(place, image, found)
    if docker and not docker.get("container_name"):
        found.error("docker.container_name", "missing; Ray needs it beside an image, as in container_name: pmd_ray")
    if docker and not (docker.get("image") or (docker.get("head_image") and docker.get("worker_image"))):
        found.error("docker.image", "missing; give image, or head_image and worker_image")


def check_image(place: str, image: Any, found: Findings) -> None:
    """Ray and Python of an image against the project's."""
    if not isinstance(image, str):
        return
    if wrong := wrong_image(image):
        found.error(place, f"{image} {wrong}; take a tag with {TAG}")
    elif doubt := doubtful_image(image):
        found.warn(place, f"{image}: {doubt}")


def _machine(kind: str, name: str, node: Mapping[str, Any], found: Findings) -> None:
    place = f"available_node_types.{name}"
    resources, labels = mapping(node.get("resources")), mapping(node.get("labels"))
    for key, value in resources.items():
        if whole(value) is None or value < 0:
            found.error(f"{place}.resources.{key}", f"must be a whole number from 0, got {shown(value)}")
    for key, value in labels.items():
        if not isinstance(value, str):
            found.error(f"{place}.labels.{key}", f"must be a text, got {shown(value)}; quote it")
    machine = machine_of(kind, node)
    if machine is None and kind in ("aws", "gcp"):
        key = "InstanceType" if kind == "aws" else "machineType"
        found.error(f"{place}.node_config.{key}", "missing; say which machine it is")
        return
    if kind == "aws" and "ImageId" not in mapping(node.get("node_config")):
        found.warn(
            f"{place}.node_config.ImageId", "missing; Ray takes an Ubuntu 18.04 with CUDA 11, too old for our torch"
        )
    price = price_of(kind, machine or "")
    if price is not None:
        _offered(kind, place, resources, price, found)


def _offered(kind: str, place: str, resources: Mapping[str, Any], price: Price, found: Findings) -> None:
    # On AWS Ray looks up what a file leaves out.
    gpus = whole(resources.get("GPU", price.gpus if kind == "aws" else 0)) or 0
    where = f"{place}.resources.GPU"
    if price.gpus and not gpus:
        found.error(
            where,
            f"is 0, so that no stage can use the {price.gpus} {price.gpu} of {price.machine}; say GPU: {price.gpus}",
        )
    elif gpus > price.gpus:
        found.error(where, f"is {gpus}, {price.machine} has {price.gpus}; stages would share GPUs without knowing")
    cpus = whole(resources.get("CPU"))
    if cpus is not None and cpus > price.cpus:
        found.warn(f"{place}.resources.CPU", f"is {cpus}, {price.machine} has {price.cpus} vCPUs")


def _spot(kind: str, name: str, types: Mapping[str, Mapping[str, Any]], found: Findings) -> None:
    node = types[name]
    if not is_spot(node):
        return
    same = [other for other, one in types.items() if not is_spot(one) and _gpus(kind, one) == _gpus(kind, node)]
    if not same:
        found.warn(
            f"available_node_types.{name}", "spot machines with no type on demand beside: none left means waiting"
        )


def _gpus(kind: str, node: Mapping[str, Any]) -> int:
    price = price_of(kind, machine_of(kind, node) or "")
    return whole(mapping(node.get("resources")).get("GPU")) or (price.gpus if price else 0)


def _needed(kind: str, types: Mapping[str, Mapping[str, Any]], found: Findings, *, needs_gpu: bool | None) -> None:
    with_gpus = [name for name, node in types.items() if _gpus(kind, node)]
    if needs_gpu is False:
        for name in with_gpus:
            found.error(f"available_node_types.{name}", "has GPUs, the plan's stages train on CPUs; leave the type out")
    if needs_gpu and not with_gpus:
        found.error(
            "available_node_types", "no type has GPUs, the plan's stages ask for one; add a type, or --device cpu"
        )
