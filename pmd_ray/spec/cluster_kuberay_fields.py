"""The fields of RayCluster and RayJob with their types, by hand from KubeRay's `ray-operator/apis/ray/v1`.

From 1.5.1 to its main branch: an operator that is too old for a field says so itself. Of what is a mapping or list here
and has no table of its own, such as a pod's template, which is Kubernetes' own, nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pmd_ray.spec.cluster_findings import Findings, shown
from pmd_ray.spec.errors import nearest

KINDS = ("RayCluster", "RayJob")
OTHER_KINDS = (
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
    "ConfigMap",
    "Secret",
    "Namespace",
    "Service",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "NetworkPolicy",
    "PriorityClass",
    "ResourceQuota",
    "LimitRange",
)
REPLICAS_MOST = 10_000
"""Pods of a group that may be meant."""
MAPPING, LIST, TEXT, WHOLE, TRUTH = dict, list, str, int, bool
CLUSTER = {
    "rayVersion": TEXT,
    "authOptions": MAPPING,
    "enableInTreeAutoscaling": TRUTH,
    "autoscalerOptions": MAPPING,
    "headGroupSpec": MAPPING,
    "workerGroupSpecs": LIST,
    "headServiceAnnotations": MAPPING,
    "gcsFaultToleranceOptions": MAPPING,
    "upgradeStrategy": MAPPING,
    "networkPolicy": MAPPING,
    "tlsOptions": MAPPING,
    "historyServerOptions": MAPPING,
    "managedBy": TEXT,
    "suspend": TRUTH,
}
AUTH = {"mode": TEXT, "enableK8sTokenAuth": TRUTH, "secretName": TEXT}
UPGRADE = {"type": TEXT}
TLS = {"enabled": TRUTH}
AUTOSCALER = {
    "version": TEXT,
    "idleTimeoutSeconds": WHOLE,
    "upscalingMode": TEXT,
    "resources": MAPPING,
    "image": TEXT,
    "imagePullPolicy": TEXT,
    "env": LIST,
    "envFrom": LIST,
    "volumeMounts": LIST,
    "securityContext": MAPPING,
    "command": LIST,
    "args": LIST,
}
HEAD = {
    "serviceType": TEXT,
    "headService": MAPPING,
    "enableIngress": TRUTH,
    "ingressOptions": MAPPING,
    "rayStartParams": MAPPING,
    "resources": MAPPING,
    "labels": MAPPING,
    "template": MAPPING,
}
WORKER = {
    "groupName": TEXT,
    "replicas": WHOLE,
    "minReplicas": WHOLE,
    "maxReplicas": WHOLE,
    "numOfHosts": WHOLE,
    "idleTimeoutSeconds": WHOLE,
    "priority": WHOLE,
    "suspend": TRUTH,
    "rayStartParams": MAPPING,
    "resources": MAPPING,
    "labels": MAPPING,
    "scaleStrategy": MAPPING,
    "template": MAPPING,
}
JOB = {
    "entrypoint": TEXT,
    "runtimeEnvYAML": TEXT,
    "jobId": TEXT,
    "submissionMode": TEXT,
    "submitterPodTemplate": MAPPING,
    "submitterConfig": MAPPING,
    "entrypointNumCpus": (int, float),
    "entrypointNumGpus": (int, float),
    "entrypointResources": TEXT,
    "shutdownAfterJobFinishes": TRUTH,
    "ttlSecondsAfterFinished": WHOLE,
    "activeDeadlineSeconds": WHOLE,
    "backoffLimit": WHOLE,
    "deletionStrategy": MAPPING,
    "preRunningDeadlineSeconds": WHOLE,
    "metadata": MAPPING,
    "clusterSelector": MAPPING,
    "managedBy": TEXT,
    "suspend": TRUTH,
    "rayClusterSpec": MAPPING,
}
CHOICES = {
    "mode": ("token", "disabled"),
    "type": ("Recreate", "None"),
    "version": ("v1", "v2"),
    "upscalingMode": ("Default", "Aggressive", "Conservative"),
    "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode"),
    "serviceType": ("ClusterIP", "NodePort", "LoadBalancer"),
}
"""Fields that take one of a few words."""
NAMES = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number", bool: "true or false"}


def check_fields(place: str, given: Mapping[str, Any], fields: Mapping[str, Any], found: Findings) -> None:
    """Names and types of the fields of one object."""
    for key, value in given.items():
        kind = fields.get(key)
        if kind is None:
            found.error(f"{place}.{key}", f"unknown field{nearest(key, fields)}")
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            found.error(f"{place}.{key}", f"must be {NAMES.get(kind, 'a number')}, got {shown(value)}")
        elif kind is int and (value < 0 or (key.endswith("eplicas") and value > REPLICAS_MOST)):
            most = f" to {REPLICAS_MOST:,}" if key.endswith("eplicas") else " or more"
            found.error(f"{place}.{key}", f"must be 0{most}, got {shown(value)}")
        elif key in CHOICES and value not in CHOICES[key]:
            legal = CHOICES[key]
            found.error(
                f"{place}.{key}", f"must be one of {', '.join(legal)}, got {shown(value)}{nearest(value, legal)}"
            )
