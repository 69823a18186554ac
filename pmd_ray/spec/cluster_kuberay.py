"""KubeRay manifests: authentication, volumes, limits, services and images of RayClusters and RayJobs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pmd_ray.spec.cluster_findings import Findings, listed, mapping, shown, text, whole
from pmd_ray.spec.cluster_kuberay_fields import (
    AUTH,
    AUTOSCALER,
    CLUSTER,
    HEAD,
    JOB,
    KINDS,
    OTHER_KINDS,
    REPLICAS_MOST,
    TLS,
    UPGRADE,
    WORKER,
    check_fields,
)
from pmd_ray.spec.cluster_nodes import check_image, check_pythons
from pmd_ray.spec.cluster_storage import STORAGE, address_fault, folder_of
from pmd_ray.spec.cluster_versions import RAY
from pmd_ray.spec.errors import nearest

GPU = "nvidia.com/gpu"
OPEN_SERVICES = ("LoadBalancer", "NodePort")
AUTH_WAY_OUT = "say authOptions: {mode: token}, for which the operator (KubeRay 1.5.1 and later) makes a secret"


def check_manifests(documents: Sequence[Any], found: Findings, *, needs_gpu: bool | None = None) -> None:
    """Every document of a manifest file."""
    claims = {
        text(mapping(one.get("metadata")).get("name")): mapping(one.get("spec"))
        for one in map(mapping, documents)
        if one.get("kind") == "PersistentVolumeClaim"
    }
    for document in map(mapping, documents):
        kind = document.get("kind")
        name = text(mapping(document.get("metadata")).get("name"))
        place = f"{text(kind)} {name}".strip()
        if kind not in KINDS:
            if kind not in OTHER_KINDS:
                legal = KINDS if "Ray" in text(kind) else (*KINDS, *OTHER_KINDS)
                found.error("kind", f"{shown(kind)} is not checked here{nearest(text(kind), legal)}")
            if kind == "Service":
                _open_type(f"{place} spec.type", mapping(document.get("spec")).get("type"), found)
            if kind == "Secret" and (document.get("data") or document.get("stringData")):
                found.error(
                    place, "a secret written into a file; make it with kubectl create secret, from a file of mode 600"
                )
            continue
        if document.get("apiVersion") != "ray.io/v1":
            found.error(f"{place} apiVersion", f"must be ray.io/v1, got {shown(document.get('apiVersion'))}")
        if not name:
            found.error(f"{kind} metadata.name", "missing; clusters and jobs are found by it")
        spec = mapping(document.get("spec"))
        if kind == "RayJob":
            _job(f"{place} spec", spec, found)
            spec, place = mapping(spec.get("rayClusterSpec")), f"{place} spec.rayClusterSpec"
            if spec:
                _cluster(place, spec, claims, found, needs_gpu=needs_gpu)
        else:
            _cluster(f"{place} spec", spec, claims, found, needs_gpu=needs_gpu)


def _job(place: str, spec: Mapping[str, Any], found: Findings) -> None:
    check_fields(place, spec, JOB, found)
    if not spec.get("entrypoint"):
        found.error(f"{place}.entrypoint", "missing; say what the job runs, as in pmd ablate quickstart")
    if not spec.get("rayClusterSpec") and not spec.get("clusterSelector"):
        found.error(
            f"{place}.rayClusterSpec", "missing; describe the job's cluster, or choose one with clusterSelector"
        )
    if spec.get("rayClusterSpec") and spec.get("shutdownAfterJobFinishes") is not True:
        found.warn(f"{place}.shutdownAfterJobFinishes", "is not true: the cluster stays, and is paid for, when it ends")


def _cluster(
    place: str, spec: Mapping[str, Any], claims: Mapping[str, Any], found: Findings, *, needs_gpu: bool | None
) -> None:
    check_fields(place, spec, CLUSTER, found)
    for key, fields in (
        ("authOptions", AUTH),
        ("autoscalerOptions", AUTOSCALER),
        ("upgradeStrategy", UPGRADE),
        ("tlsOptions", TLS),
    ):
        check_fields(f"{place}.{key}", mapping(spec.get(key)), fields, found)
    version = spec.get("rayVersion")
    if version is None:
        found.error(f"{place}.rayVersion", f"missing; the operator needs it for authentication: '{RAY}'")
    elif isinstance(version, str) and version != RAY:
        found.error(f"{place}.rayVersion", f"is {shown(version)}, this project runs Ray '{RAY}' on every node")
    head = mapping(spec.get("headGroupSpec"))
    groups = [mapping(one) for one in listed(spec.get("workerGroupSpecs"))]
    check_fields(f"{place}.headGroupSpec", head, HEAD, found)
    _service(f"{place}.headGroupSpec", head, found)
    if mapping(head.get("rayStartParams")).get("num-cpus") != "0":
        found.warn(f"{place}.headGroupSpec.rayStartParams", "tasks may run on the head; say num-cpus: '0'")
    pods = [(f"{place}.headGroupSpec", head, "head")]
    for number, group in enumerate(groups):
        where = f"{place}.workerGroupSpecs[{number}]"
        check_fields(where, group, WORKER, found)
        _replicas(where, group, found)
        pods.append((where, group, "worker"))
    token = mapping(spec.get("authOptions")).get("mode") == "token"
    for where, group, _ in pods:
        _pod(where, group, found, token=token)
        _storage(where, group, claims, found)
    check_pythons(place, {where: _image(group) for where, group, _ in pods}, found)
    places = list(dict.fromkeys(place for place in (_storage_of(group) for _, group, _ in pods) if place))
    if len(places) > 1:
        found.error(place, f"pods have several {STORAGE}: {', '.join(places)}; name one place for all")
    _names(place, groups, found)
    _growth(place, spec, groups, found)
    for where, group, role in pods:
        _usable(where, group, role, found)
    gpus = [where for where, group, role in pods if role == "worker" and _gpus(group)]
    if needs_gpu and not any(_gpus(group) and _runs_stages(group, gpus=True) for group in groups):
        found.error(f"{place}.workerGroupSpecs", "no group has GPUs, the plan's stages ask for one; add nvidia.com/gpu")
    if needs_gpu is False:
        for where in gpus:
            found.error(where, "has GPUs, the plan's stages train on CPUs; leave nvidia.com/gpu out")


def _names(place: str, groups: Sequence[Mapping[str, Any]], found: Findings) -> None:
    names = [text(group.get("groupName")) for group in groups]
    for number, name in enumerate(names):
        if name and name in names[:number]:
            found.error(
                f"{place}.workerGroupSpecs[{number}].groupName", f"{shown(name)} is another group's too; rename one"
            )


def _growth(place: str, spec: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], found: Findings) -> None:
    """Workers are there from the start, or are started when there is work."""
    head = mapping(mapping(spec.get("headGroupSpec")).get("rayStartParams"))
    if head.get("num-cpus") == "0" and all(group.get("maxReplicas") == 0 for group in groups):
        found.error(
            f"{place}.workerGroupSpecs",
            "no pod can run a stage: the head has num-cpus: '0', and no group has maxReplicas above 0",
        )
    elif (
        groups
        and spec.get("enableInTreeAutoscaling") is not True
        and not any(group.get("replicas") for group in groups)
    ):
        found.error(
            f"{place}.enableInTreeAutoscaling",
            "is not true, and no group has replicas: no worker ever comes; say true, or replicas: 1",
        )


def _usable(place: str, group: Mapping[str, Any], role: str, found: Findings) -> None:
    """GPUs as whole numbers, and where stages run."""
    for where, limits in _limits(place, group):
        if (given := limits.get(GPU)) is not None and _count(given) is None:
            found.error(f"{where}.{GPU}", f"must be a whole number from 0, got {shown(given)}")
    start = mapping(group.get("rayStartParams"))
    if role == "worker" and start.get("num-cpus") == "0":
        found.error(f"{place}.rayStartParams.num-cpus", "is 0, so that no stage runs there; leave it out")
    elif _gpus(group) and not _runs_stages({**group, "maxReplicas": 1}, gpus=True):
        found.error(place, f"has GPUs that no stage can use: num-cpus or num-gpus is 0; leave {GPU} or those out")


def _runs_stages(group: Mapping[str, Any], *, gpus: bool) -> bool:
    start = mapping(group.get("rayStartParams"))
    without = [start.get("num-cpus"), group.get("maxReplicas"), start.get("num-gpus") if gpus else None]
    return not {"0", 0} & {one for one in without if isinstance(one, str | int)}


def _count(value: Any) -> int | None:
    """A whole number from 0 of a size that may be meant, as a number or, as Kubernetes takes it, as text."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"[0-9]{1,6}", value) else None
    count = whole(value)
    return count if count is not None and 0 <= count <= REPLICAS_MOST else None


def _service(place: str, head: Mapping[str, Any], found: Findings) -> None:
    inner = mapping(mapping(head.get("headService")).get("spec"))
    for where, kind in (
        (f"{place}.serviceType", head.get("serviceType")),
        (f"{place}.headService.spec.type", inner.get("type")),
    ):
        _open_type(where, kind, found)
    if head.get("enableIngress") is True:
        found.error(
            f"{place}.enableIngress", "opens the dashboard and job server; leave it out, and kubectl port-forward"
        )


def _open_type(place: str, kind: Any, found: Findings) -> None:
    if kind in OPEN_SERVICES:
        found.error(place, f"{kind} opens the dashboard and job server; say ClusterIP, and kubectl port-forward")


def _replicas(place: str, group: Mapping[str, Any], found: Findings) -> None:
    least, most, count = (_count(group.get(key)) for key in ("minReplicas", "maxReplicas", "replicas"))
    if not group.get("groupName"):
        found.error(f"{place}.groupName", "missing; groups are told apart by it")
    if "maxReplicas" not in group:
        found.error(f"{place}.maxReplicas", "missing; KubeRay takes 2,147,483,647")
    if least is not None and most is not None and least > most:
        found.error(f"{place}.minReplicas", f"{least} is above its maxReplicas, {most}; lower it")
    elif count is not None and not (least or 0) <= count <= (count if most is None else most):
        found.error(f"{place}.replicas", f"{count} is not within minReplicas and maxReplicas ({least} to {most})")


def _pod(place: str, group: Mapping[str, Any], found: Findings, *, token: bool) -> None:
    for key, value in mapping(group.get("rayStartParams")).items():
        if not isinstance(value, str):
            found.error(f"{place}.rayStartParams.{key}", f"must be a text, got {shown(value)}; quote it")
    pod = mapping(mapping(group.get("template")).get("spec"))
    containers = list(_containers(pod))
    if not containers:
        found.error(f"{place}.template.spec.containers", "missing; Ray runs in the first one")
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name) is True:
            found.error(
                f"{place}.template.spec.{name}", "gives the pod the machine's; nothing here needs it, leave it out"
            )
    for number, container in enumerate(containers):
        where = f"{place}.template.spec.containers[{number}]"
        if number == 0 and not text(container.get("image")):
            found.error(f"{where}.image", f"missing; name one with Ray {RAY}: deploy/Dockerfile makes it")
        check_image(f"{where}.image", container.get("image"), found)
        if mapping(container.get("securityContext")).get("privileged") is True:
            found.error(f"{where}.securityContext.privileged", "gives the container the machine; leave it out")
        limits = mapping(mapping(container.get("resources")).get("limits"))
        for key in ("cpu", "memory"):
            if key not in limits:
                found.error(f"{where}.resources.limits.{key}", "missing; Ray sees as much as this says")
        for port in map(mapping, listed(container.get("ports"))):
            if "hostPort" in port:
                found.error(f"{where}.ports", f"hostPort {shown(port['hostPort'])} opens the machine; leave it out")
    mode = _variables(containers[0]).get("RAY_AUTH_MODE", {}).get("value", "token") if containers else "token"
    if containers and (mode != "token" or not (token or _token_by_hand(containers[0]))):
        found.error(f"{place}", f"authentication is off: any process that reaches Ray runs code; {AUTH_WAY_OUT}")


def _token_by_hand(container: Mapping[str, Any]) -> bool:
    variables = _variables(container)
    by_secret = "secretKeyRef" in mapping(variables.get("RAY_AUTH_TOKEN", {}).get("valueFrom"))
    by_file = "value" in variables.get("RAY_AUTH_TOKEN_PATH", {})
    return variables.get("RAY_AUTH_MODE", {}).get("value") == "token" and (by_secret or by_file)


def _storage(place: str, group: Mapping[str, Any], claims: Mapping[str, Any], found: Findings) -> None:
    pod = mapping(mapping(group.get("template")).get("spec"))
    for container in list(_containers(pod))[:1]:
        where = f"{place}.template.spec"
        storage = _storage_of(group)
        if not storage:
            found.error(
                where, f"{STORAGE} is not set; name one place for all pods: s3://BUCKET/PATH or a claim's mount"
            )
            continue
        if fault := address_fault(storage):
            found.error(where, f"{STORAGE}: {fault}")
            continue
        folder = folder_of(storage)
        if folder is None:
            continue
        mounts = {
            text(one.get("name")): text(one.get("mountPath"))
            for one in map(mapping, listed(container.get("volumeMounts")))
        }
        name = next(
            (name for name, path in mounts.items() if path and f"{folder}/".startswith(f"{path.rstrip('/')}/")), None
        )
        volumes = {text(one.get("name")): one for one in map(mapping, listed(pod.get("volumes")))}
        volume = mapping(volumes.get(name or ""))
        claim = text(mapping(volume.get("persistentVolumeClaim")).get("claimName"))
        if not claim and "nfs" not in volume:
            found.error(
                where, f"{STORAGE} {storage} lies in the pod alone; mount a persistentVolumeClaim or nfs volume there"
            )
        modes = listed(mapping(claims.get(claim)).get("accessModes"))
        if modes and "ReadWriteMany" not in modes:
            given = ", ".join(one if isinstance(one, str) else shown(one) for one in modes)
            found.error(
                f"PersistentVolumeClaim {claim} spec.accessModes",
                f"{given} serves pods of one machine; all pods write there: ReadWriteMany",
            )


def _storage_of(group: Mapping[str, Any]) -> str:
    """What PMD_STORAGE is in the container that Ray runs in."""
    pod = mapping(mapping(group.get("template")).get("spec"))
    return next((text(_variables(one).get(STORAGE, {}).get("value")) for one in _containers(pod)), "")


def _image(group: Mapping[str, Any]) -> str:
    """Of the container that Ray runs in."""
    pod = mapping(mapping(group.get("template")).get("spec"))
    return next((text(one.get("image")) for one in _containers(pod)), "")


def _limits(place: str, group: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and value of each container's limits."""
    pod = mapping(mapping(group.get("template")).get("spec"))
    for number, container in enumerate(_containers(pod)):
        where = f"{place}.template.spec.containers[{number}].resources.limits"
        yield where, mapping(mapping(container.get("resources")).get("limits"))


def _containers(pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (mapping(one) for one in listed(pod.get("containers")))


def _variables(container: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {text(one.get("name")): one for one in map(mapping, listed(container.get("env")))}


def _gpus(group: Mapping[str, Any]) -> int:
    return sum(_count(limits.get(GPU, 0)) or 0 for _, limits in _limits("", group))
