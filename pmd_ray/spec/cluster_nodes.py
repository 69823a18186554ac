"""The node types of a launcher file: limits, what they offer against what the machine has, images, spot machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pmd_ray.spec.cluster_environment import all_commands
from pmd_ray.spec.cluster_findings import Findings, mapping, shown, text, whole
from pmd_ray.spec.cluster_keys import is_well
from pmd_ray.spec.cluster_prices import MACHINE_KEYS, RAYS_DEFAULT, Price, is_spot, machine_of, node_types, price_of
from pmd_ray.spec.cluster_versions import (
    TAG,
    doubtful_command,
    doubtful_image,
    mixed_pythons,
    wrong_command,
    wrong_image,
)
from pmd_ray.spec.errors import nearest

IDLE_LONG = 24 * 60
"""Minutes; machines that are billed while nobody uses them for longer are hardly meant."""


def check_nodes(config: Mapping[str, Any], found: Findings, *, needs_gpu: bool | None = None) -> None:
    """Everything about node types.

    Args:
        needs_gpu: Whether the plan's stages ask for GPUs; None where no plan is given.
    """
    kind = text(mapping(config.get("provider")).get("type"))
    types = node_types(config)
    _limits(config, types, found)
    _images(config, types, found)
    _commands(config, found)
    if kind == "local":
        if types:
            found.error("available_node_types", "provider local has none: Ray finds out what each machine has")
        return
    if not mapping(given := config.get("available_node_types", {})):
        if given == {}:
            found.error("available_node_types", "missing; describe the head and at least one type of worker")
        return
    _head(config, types, found)
    for name, node in types.items():
        _machine(kind, name, node, found)
        if name != config.get("head_node_type"):
            _spot(kind, name, types, found)
    if config.get("head_node_type") in list(types):
        _needed(kind, config, found, needs_gpu=needs_gpu)
    idle = config.get("idle_timeout_minutes")
    if kind in MACHINE_KEYS and isinstance(idle, int | float) and IDLE_LONG < idle < math.inf:
        found.warn("idle_timeout_minutes", f"is {shown(idle)}: machines without work are paid for so long; 10 will do")


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
    head = text(config.get("head_node_type", ""))
    if not head:
        if is_well(config, "head_node_type"):
            found.error("head_node_type", f"missing; name one of {', '.join(types)}")
        return
    names = mapping(config.get("available_node_types"))
    if head not in names:
        found.error("head_node_type", f"no node type '{head}'; there are {', '.join(names)}{nearest(head, names)}")
    if head not in types:
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
    # Where head and workers have their own, nobody runs the image of both.
    if images["docker.head_image"] and images["docker.worker_image"]:
        del images["docker.image"]
    check_pythons("docker", images, found)
    if docker and not docker.get("container_name"):
        found.error("docker.container_name", "missing; Ray needs it beside an image, as in container_name: pmd_ray")
    if docker and not (docker.get("image") or (docker.get("head_image") and docker.get("worker_image"))):
        found.error("docker.image", "missing; give image, or head_image and worker_image")


def _commands(config: Mapping[str, Any], found: Findings) -> None:
    outside = bool(mapping(config.get("docker")))
    for place, command in all_commands(config):
        if outside and "initialization_commands" in place:
            continue  # with containers, what the machine itself has does not matter
        if wrong := wrong_command(command.text):
            found.error(place, wrong)
        elif doubt := doubtful_command(command.words):
            found.warn(place, doubt)


def check_image(place: str, image: Any, found: Findings) -> None:
    """Ray and Python of an image against the project's."""
    if not isinstance(image, str) or not image:
        return
    if wrong := wrong_image(image):
        found.error(place, f"{image} {wrong}; take a tag with {TAG}")
    elif doubt := doubtful_image(image):
        found.warn(place, f"{image}: {doubt}")


def check_pythons(place: str, images: Mapping[str, Any], found: Findings) -> None:
    """The Pythons of all images of a cluster, by their places, are one."""
    if mixed := mixed_pythons({where: image for where, image in images.items() if isinstance(image, str)}):
        found.error(place, mixed)


def _machine(kind: str, name: str, node: Mapping[str, Any], found: Findings) -> None:
    place = f"available_node_types.{name}"
    machine = machine_of(kind, node)
    if not isinstance(node.get("node_config"), Mapping):
        return  # told with the types of keys
    if machine is None and kind in MACHINE_KEYS:
        found.error(f"{place}.node_config.{MACHINE_KEYS[kind]}", "missing; say which machine it is")
        return
    if kind == "aws" and "ImageId" not in mapping(node.get("node_config")):
        found.warn(
            f"{place}.node_config.ImageId", "missing; Ray takes an Ubuntu 18.04 with CUDA 11, too old for our torch"
        )
    price = price_of(kind, machine or "")
    if price is not None:
        _offered(kind, place, mapping(node.get("resources")), price, found)


def _offered(kind: str, place: str, resources: Mapping[str, Any], price: Price, found: Findings) -> None:
    # On AWS Ray looks up what a file leaves out.
    gpus = whole(resources.get("GPU", price.gpus if kind == "aws" else 0))
    where = f"{place}.resources.GPU"
    if gpus is None or gpus < 0:
        pass  # told with the types of keys
    elif price.gpus and not gpus:
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


def _needed(kind: str, config: Mapping[str, Any], found: Findings, *, needs_gpu: bool | None) -> None:
    types, head = node_types(config), text(config.get("head_node_type"))
    most = whole(config.get("max_workers", RAYS_DEFAULT))
    started = [name for name in types if name == head or (most != 0 and whole(types[name].get("max_workers", 1)) != 0)]
    idle = [name for name in started if mapping(types[name].get("resources")).get("CPU") == 0]
    usable = [name for name in started if name not in idle]
    for name in idle:
        if name != head:
            found.error(
                f"available_node_types.{name}.resources.CPU", "is 0, so that no stage runs there; say its vCPUs"
            )
    with_gpus = [name for name, node in types.items() if _gpus(kind, node)]
    if needs_gpu is False:
        for name in with_gpus:
            found.error(f"available_node_types.{name}", "has GPUs, the plan's stages train on CPUs; leave the type out")
    if needs_gpu and not set(with_gpus) & set(usable):
        way_out = "add a type, or --device cpu"
        if with_gpus:
            way_out = f"of {', '.join(with_gpus)} none has CPUs and max_workers above 0; {way_out}"
        found.error("available_node_types", f"no type has GPUs, the plan's stages ask for one; {way_out}")
    elif types and not usable and set(idle) <= {head}:
        found.error(
            "available_node_types",
            "no machine can run a stage: the head has CPU: 0, and there is no other type with max_workers above 0",
        )
