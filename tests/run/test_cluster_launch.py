"""What Ray's own launcher says of the cluster files, without a cloud and without network."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from spec.cluster_files import AWS, GCP, LAUNCHER, LOCAL, documents, put

from pmd_ray.run.launcher_rules import complaints, ray_is_there
from pmd_ray.spec import cluster_keys as keys


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*address: object) -> None:
        raise AssertionError(f"asked for {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("file", LAUNCHER, ids=lambda file: file.name)
def test_ray_takes_the_shipped_files(file: Path) -> None:
    assert ray_is_there()
    assert complaints(documents(file)[0]) == []


@pytest.mark.parametrize(
    ("file", "path", "value", "said"),
    [
        (AWS, "unknown", 1, "unknown"),
        (AWS, "docker/container_name", None, "container"),
        (AWS, "head_node_type", "other", "head_node_type"),
        (AWS, "head_node_type", None, "head_node_type"),
        (AWS, "available_node_types/gpu_1/min_workers", 9, "max_workers"),
        (AWS, "available_node_types/gpu_1/resources/GPU", "one", "available_node_types.gpu_1.resources.GPU: "),
        (GCP, "provider/type", "other", "other"),
        (GCP, "setup_commands", 3, "TypeError"),
        (LOCAL, "provider/head_ip", None, "head_ip"),
    ],
)
def test_what_ray_refuses(file: Path, path: str, value: Any, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    config = documents(file)[0]
    put(path, value)(config)
    before = json.dumps(config)
    told = complaints(config)
    assert len(told) == 1
    assert "Ray refuses it" in told[0]
    assert said in told[0]
    assert json.dumps(config) == before
    assert capfd.readouterr().out == ""


def test_our_keys_are_rays() -> None:
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))
    top = schema["properties"]
    node = next(iter(top["available_node_types"]["patternProperties"].values()))["properties"]
    # no_restart is a flag of `ray up`; min_workers is read for provider local, before validation.
    assert set(top) - {"no_restart"} == set(keys.TOP) - {"min_workers"}
    assert set(top["auth"]["properties"]) == set(keys.AUTH)
    assert set(top["docker"]["properties"]) == set(keys.DOCKER)
    assert set(node) == set(keys.NODE)
    assert set(node["docker"]["properties"]) == set(keys.NODE_DOCKER)
    kinds = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "object": "mapping",
    }
    for theirs, ours in ((top, keys.TOP), (top["auth"]["properties"], keys.AUTH), (node, keys.NODE)):
        for key, rule in theirs.items():
            if "$ref" in rule:
                assert ours[key] == keys.COMMANDS
            elif rule.get("type") in kinds:
                assert ours[key].removesuffix(keys.OF_MACHINES) == kinds[rule["type"]], key


def test_labels_are_such_as_ray_takes() -> None:
    from ray._private.label_utils import validate_node_label_syntax

    for file in (AWS, GCP):
        for node in documents(file)[0]["available_node_types"].values():
            validate_node_label_syntax(node.get("labels"))
