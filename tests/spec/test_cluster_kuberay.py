"""KubeRay manifests: known fields, authentication, shared volumes, closed services, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from spec.cluster_files import RAYCLUSTER, RAYJOB, broken, documents, put

from pmd_ray.spec.cluster_file import check_cluster_file

HEAD, WORKER = "spec/headGroupSpec", "spec/workerGroupSpecs/0"
POD, CONTAINER = f"{WORKER}/template/spec", f"{WORKER}/template/spec/containers/0"
LIMITS_IN = "template/spec/containers/0/resources/limits"
LIMITS = f"{WORKER}/{LIMITS_IN}"
IN_JOB = "spec/rayClusterSpec"


CASES: list[tuple[Path, str, Any, str]] = [
    (RAYCLUSTER, "apiVersion", "ray.io/v1alpha1", "must be ray.io/v1, got 'ray.io/v1alpha1'"),
    (RAYCLUSTER, "kind", "RayClusters", "'RayClusters' is not checked here; did you mean 'RayCluster'?"),
    (RAYCLUSTER, "metadata/name", None, "metadata.name: missing"),
    (RAYCLUSTER, "spec/rayVersion", "2.40.0", "spec.rayVersion: is '2.40.0', this project runs Ray"),
    (RAYCLUSTER, "spec/rayVersion", None, "spec.rayVersion: missing"),
    (RAYCLUSTER, "spec/rayVersoin", "x", "unknown field; did you mean 'rayVersion'?"),
    (RAYCLUSTER, "spec/upgradeStrategy", {"type": "Recreat"}, "upgradeStrategy.type: must be one of Recreate, None"),
    (RAYCLUSTER, "spec/upgradeStrategy", {"kind": "None"}, "upgradeStrategy.kind: unknown field"),
    (RAYCLUSTER, "spec/tlsOptions", {"enabled": "yes"}, "tlsOptions.enabled: must be true or false, got 'yes'"),
    (RAYCLUSTER, "spec/authOptions", None, "authentication is off"),
    (RAYCLUSTER, "spec/authOptions/mode", "disabled", "authentication is off"),
    (RAYCLUSTER, "spec/authOptions/mode", "tokn", "must be one of token, disabled, got 'tokn'; did you mean 'token'?"),
    (RAYCLUSTER, "spec/enableInTreeAutoscaling", "yes", "must be true or false, got 'yes'"),
    (RAYCLUSTER, "spec/autoscalerOptions/idleTimeoutSeconds", "60", "must be a whole number, got '60'"),
    (RAYCLUSTER, f"{HEAD}/serviceType", "LoadBalancer", "LoadBalancer opens the dashboard"),
    (RAYCLUSTER, f"{HEAD}/serviceType", "NodePort", "NodePort opens the dashboard"),
    (
        RAYCLUSTER,
        f"{HEAD}/headService",
        {"spec": {"type": "LoadBalancer"}},
        "headService.spec.type: LoadBalancer opens",
    ),
    (RAYCLUSTER, f"{HEAD}/enableIngress", True, "enableIngress: opens the dashboard"),
    (RAYCLUSTER, f"{WORKER}/rayStartParams/num-gpus", 1, "rayStartParams.num-gpus: must be a text, got 1; quote it"),
    (RAYCLUSTER, f"{WORKER}/minReplicas", 9, "minReplicas: 9 is above its maxReplicas, 8"),
    (RAYCLUSTER, f"{WORKER}/replicas", 9, "replicas: 9 is not within minReplicas and maxReplicas (0 to 8)"),
    (RAYCLUSTER, f"{WORKER}/maxReplicas", None, "maxReplicas: missing"),
    (RAYCLUSTER, f"{WORKER}/groupName", None, "groupName: missing"),
    (RAYCLUSTER, f"{POD}/hostNetwork", True, "hostNetwork: gives the pod the machine's"),
    (RAYCLUSTER, f"{POD}/containers", [], "containers: missing"),
    (RAYCLUSTER, f"{POD}/volumes", [], "PMD_STORAGE /mnt/pmd_ray/store lies in the pod alone"),
    (RAYCLUSTER, f"{CONTAINER}/image", "rayproject/ray:2.9.0-py39", "has Ray 2.9.0, this project runs Ray"),
    (
        RAYCLUSTER,
        f"{CONTAINER}/securityContext",
        {"privileged": True},
        "securityContext.privileged: gives the container",
    ),
    (RAYCLUSTER, f"{CONTAINER}/resources/limits/memory", None, "resources.limits.memory: missing"),
    (RAYCLUSTER, f"{CONTAINER}/ports", [{"containerPort": 8265, "hostPort": 8265}], "hostPort 8265 opens the machine"),
    (RAYCLUSTER, f"{CONTAINER}/env", [], "PMD_STORAGE is not set"),
    (RAYCLUSTER, f"{CONTAINER}/env/0/value", "/mnt/pmd_ray/other", "pods have several PMD_STORAGE: "),
    (RAYCLUSTER, f"{CONTAINER}/env/0/value", "memory://x", "PMD_STORAGE: no storage is known by 'memory://'"),
    (RAYCLUSTER, f"{CONTAINER}/env/0", {"name": "WANDB_API_KEY", "value": "0123456789"}, "env[0].value: holds a sec"),
    (RAYCLUSTER, f"{CONTAINER}/env/1", {"name": "RAY_AUTH_MODE", "value": "disabled"}, "authentication is off"),
    (RAYCLUSTER, f"{CONTAINER}/image", None, "containers[0].image: missing"),
    (RAYCLUSTER, f"{CONTAINER}/image", 3, "containers[0].image: missing"),
    (RAYCLUSTER, f"{LIMITS}/nvidia.com~gpu", "one", "nvidia.com/gpu: must be a whole number from 0, got 'one'"),
    (RAYCLUSTER, f"{LIMITS}/nvidia.com~gpu", -1, "nvidia.com/gpu: must be a whole number from 0, got -1"),
    (RAYCLUSTER, f"{LIMITS}/nvidia.com~gpu", "9" * 5000, "nvidia.com/gpu: must be a whole number from 0, got '99"),
    (RAYCLUSTER, f"{HEAD}/{LIMITS_IN}/nvidia.com~gpu", 4, "headGroupSpec: has GPUs that no stage can use"),
    (RAYCLUSTER, f"{WORKER}/rayStartParams/num-cpus", "0", "num-cpus: is 0, so that no stage runs there"),
    (RAYCLUSTER, f"{WORKER}/rayStartParams/num-gpus", "0", "workerGroupSpecs[0]: has GPUs that no stage can use"),
    (RAYCLUSTER, f"{WORKER}/replicas", -1, "replicas: must be 0 to 10,000, got -1"),
    (RAYCLUSTER, f"{WORKER}/maxReplicas", 10**12, "maxReplicas: must be 0 to 10,000, got 1000000000000"),
    (RAYCLUSTER, f"{WORKER}/maxReplicas", 10**5000, "maxReplicas: must be 0 to 10,000, got a number of thousands"),
    (RAYCLUSTER, f"{WORKER}/groupName", "gpu-4", "workerGroupSpecs[1].groupName: 'gpu-4' is another group's too"),
    (RAYCLUSTER, "spec/enableInTreeAutoscaling", False, "no group has replicas: no worker ever comes"),
    (RAYCLUSTER, "spec/workerGroupSpecs", [], "no pod can run a stage"),
    (RAYJOB, "spec/entrypoint", None, "spec.entrypoint: missing"),
    (RAYJOB, "spec/submissionMode", "HttpMode", "must be one of K8sJobMode, HTTPMode, InteractiveMode"),
    (RAYJOB, IN_JOB, None, "spec.rayClusterSpec: missing"),
    (RAYJOB, f"{IN_JOB}/authOptions", None, "spec.rayClusterSpec.headGroupSpec: authentication is off"),
    (RAYJOB, "spec/ttlSeconds", 3, "spec.ttlSeconds: unknown field"),
]


@pytest.mark.parametrize(
    ("file", "path", "value", "said"), CASES, ids=[f"{c[0].stem}-{c[1]}-{n}" for n, c in enumerate(CASES)]
)
def test_each_broken_rule_is_told(file: Path, path: str, value: Any, said: str) -> None:
    errors = broken(file, put(tuple(part.replace("~", "/") for part in path.split("/")), value)).errors
    assert [line for line in errors if said in line], errors


def test_fields_of_newer_operators_are_known() -> None:
    def change(document: dict[str, Any]) -> None:
        spec = document["spec"]
        spec |= {"upgradeStrategy": {"type": "Recreate"}, "tlsOptions": {"enabled": True}}
        spec |= {"networkPolicy": {"mode": "DenyAllIngress"}, "historyServerOptions": {"collectorOptions": {}}}
        spec["autoscalerOptions"] |= {"command": ["x"], "args": ["y"]}
        spec["headGroupSpec"]["ingressOptions"] = {"host": "ray.example"}
        spec["workerGroupSpecs"][0]["priority"] = 1

    assert broken(RAYCLUSTER, change).errors == ()


def test_a_claim_of_one_machine_is_not_shared(tmp_path: Path) -> None:
    claim, cluster = documents(RAYCLUSTER)
    claim["spec"]["accessModes"] = ["ReadWriteOnce"]
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump_all([claim, cluster]), encoding="utf-8")
    errors = check_cluster_file(file).errors
    assert len(errors) == 1
    assert "ReadWriteOnce serves pods of one machine" in errors[0]


def test_a_token_by_a_secret_of_ones_own_will_do() -> None:
    by_hand = [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": "pmd-ray", "key": "auth_token"}}},
    ]

    def change(document: dict[str, Any]) -> None:
        spec = document["spec"]
        del spec["authOptions"]
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            group["template"]["spec"]["containers"][0]["env"] += by_hand

    assert broken(RAYCLUSTER, change).errors == ()


def test_a_token_in_a_variable_is_a_secret_in_the_file() -> None:
    token = "feedbeef" * 8
    plain = {"name": "RAY_AUTH_TOKEN", "value": token}
    errors = broken(
        RAYCLUSTER,
        lambda one: one["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"].append(plain),
    ).errors
    assert len(errors) == 1
    assert token not in errors[0]


def test_a_secret_does_not_belong_into_the_file(tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"x": "y"}}
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump_all([secret, *documents(RAYCLUSTER)]), encoding="utf-8")
    assert [
        line for line in check_cluster_file(file).errors if line.startswith("Secret s: a secret written into a file")
    ]


@pytest.mark.parametrize("kind", ["Namespace", "Service", "Role"])
def test_documents_beside_the_cluster(tmp_path: Path, kind: str) -> None:
    beside = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "spec": {"type": "ClusterIP"}}
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump_all([beside, *documents(RAYCLUSTER)]), encoding="utf-8")
    assert check_cluster_file(file).errors == ()
    beside["spec"] = {"type": "LoadBalancer"}
    file.write_text(yaml.safe_dump_all([beside, *documents(RAYCLUSTER)]), encoding="utf-8")
    errors = check_cluster_file(file).errors
    assert len(errors) == (kind == "Service")
    assert all(line.startswith("Service x spec.type: LoadBalancer opens") for line in errors)


@pytest.mark.parametrize("key", ["maxReplicas", "num-gpus"])
def test_groups_that_no_stage_can_use(key: str) -> None:
    def change(document: dict[str, Any]) -> None:
        for group in document["spec"]["workerGroupSpecs"]:
            if key == "maxReplicas":
                group[key] = 0
            else:
                group["rayStartParams"][key] = "0"

    errors = broken(RAYCLUSTER, change, needs_gpu=True).errors
    assert [line for line in errors if "no group has GPUs, the plan's stages ask for one" in line]


def test_gpus_and_the_plan() -> None:
    errors = broken(RAYCLUSTER, needs_gpu=False).errors
    assert len(errors) == 2
    assert all("has GPUs, the plan's stages train on CPUs" in line for line in errors)

    def without(document: dict[str, Any]) -> None:
        for group in document["spec"]["workerGroupSpecs"]:
            del group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]

    errors = broken(RAYCLUSTER, without, needs_gpu=True).errors
    assert [line for line in errors if "no group has GPUs" in line]


def test_a_job_whose_cluster_stays_is_warned_of() -> None:
    done = broken(RAYJOB, put("spec/shutdownAfterJobFinishes", False))
    assert done.errors == ()
    assert [line for line in done.warnings if "the cluster stays" in line]
