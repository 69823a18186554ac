"""Open ports, missing authentication and secrets are found; secrets are never repeated."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from spec.cluster_files import AWS, LOCAL, ROOT, SHIPPED, broken, put

from pmd_ray.spec.cluster_file import check_cluster_file
from pmd_ray.spec.cluster_findings import Findings
from pmd_ray.spec.cluster_safety import check_secrets

SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}
DASHBOARD = SSH | {"FromPort": 8265, "ToPort": 8265}
EVERYTHING = {"IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
AMONG_THEMSELVES = {"IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "UserIdGroupPairs": [{"GroupId": "sg-1"}]}


@pytest.mark.parametrize(
    ("rule", "said"), [(DASHBOARD, "port 8265"), (EVERYTHING, "all ports"), (SSH | {"ToPort": 80}, "22 to 80")]
)
def test_ports_beyond_ssh(rule: dict[str, Any], said: str) -> None:
    errors = broken(AWS, put("provider/security_group", {"GroupName": "x", "IpPermissions": [SSH, rule]})).errors
    assert len(errors) == 1
    assert errors[0].startswith(
        f"provider.security_group.IpPermissions[1]: opens {'ports ' if ' to ' in said else ''}{said}"
    )


def test_ssh_and_the_group_itself_are_well() -> None:
    group = {"GroupName": "x", "IpPermissions": [SSH, AMONG_THEMSELVES]}
    assert broken(AWS, put("provider/security_group", group)).errors == ()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("ray start --head --dashboard-host=0.0.0.0", "--dashboard-host 0.0.0.0 listens to the network"),
        ("ray start --head --dashboard-host ::", "--dashboard-host :: listens to the network"),
        ("ray start --head --dashboard-host=127.0.0.1; tensorboard --logdir x --bind_all", "--bind_all listens"),
        ("ray start --head --dashboard-host=127.0.0.1; tensorboard --host 0.0.0.0", "--host 0.0.0.0 listens"),
    ],
)
def test_servers_that_listen_to_the_network(command: str, said: str) -> None:
    errors = broken(AWS, put("head_start_ray_commands", [command])).errors
    assert [line for line in errors if said in line and line.startswith("head_start_ray_commands[0]")]


def test_a_published_port() -> None:
    errors = broken(AWS, lambda one: one["docker"]["run_options"].append("-p 8265:8265")).errors
    assert [line for line in errors if "opens a port" in line]


@pytest.mark.parametrize("mode", ["disabled", "Token", None])
def test_authentication_off(mode: str | None) -> None:
    def change(document: dict[str, Any]) -> None:
        options = document["docker"]["run_options"]
        options[1] = f"-e RAY_AUTH_MODE={mode}" if mode else "-e OTHER=1"

    errors = [line for line in broken(AWS, change).errors if "RAY_AUTH_MODE" in line]
    assert [line.partition(":")[0] for line in errors] == ["head_start_ray_commands", "worker_start_ray_commands"]
    assert f"is '{mode}'" in errors[0] if mode else "is not set" in errors[0]


@pytest.mark.parametrize("role", ["head", "worker"])
@pytest.mark.parametrize("file", [AWS, LOCAL], ids=["aws", "local"])
def test_rays_default_start_commands_are_open(file: Path, role: str) -> None:
    errors = broken(file, put(f"{role}_start_ray_commands", None)).errors
    assert [line for line in errors if line.startswith(f"{role}_start_ray_commands: missing, or without `ray start`")]


SECRETS = {
    "an AWS access key": "export AWS_ACCESS_KEY_ID=AKIA" + "Q7ZZ1234EXAMPLE9",
    "an AWS secret key": "export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00",
    "a Ray token": "RAY_AUTH_TOKEN=" + "d00d" * 16 + " ray start",
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
    "a Hugging Face token": "HF=hf_" + "a" * 34,
    "a GitHub token": "pip install git+https://ghp_" + "b" * 36 + "@github.com/x/y",
    "a password": "export DB_PASSWORD=correcthorse",
    "64 hexadecimal digits": "echo " + "0123456789abcdef" * 4,
}


@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_are_found_and_not_repeated(kind: str) -> None:
    errors = broken(AWS, lambda one: one["setup_commands"].append(SECRETS[kind])).errors
    assert len(errors) == 1
    assert errors[0].startswith("setup_commands[2]: holds ")
    assert "take it out" in errors[0]
    tail = SECRETS[kind].split("=")[-1].split()[-1][-12:]
    assert tail not in errors[0]


@pytest.mark.parametrize(
    "value",
    [
        {"provider": {"aws_credentials": {"aws_secret_access_key": "wJalrXUtnFEMIK7MDENG"}}},
        {"env": [{"name": "x", "auth_token": "0123abcd0123abcd"}]},
        {"password": "correct horse"},
    ],
)
def test_secrets_by_their_key(value: dict[str, Any]) -> None:
    found = Findings()
    check_secrets(value, found)
    assert len(found.errors) == 1


@pytest.mark.parametrize(
    "value",
    [
        "export AWS_SECRET_ACCESS_KEY=$(cat key)",
        "RAY_AUTH_TOKEN=$TOKEN ray start",
        "RAY_AUTH_TOKEN_PATH=/etc/ray/token",
        "RAY_AUTH_MODE=token",
        "tokenizers==0.20",
        "rayproject/ray@sha256:" + "ab" * 32,
        "export TOKENIZERS_PARALLELISM=false",
    ],
)
def test_what_is_no_secret(value: str) -> None:
    found = Findings()
    check_secrets({"setup_commands": [value]}, found)
    assert found.errors == []


def test_a_token_as_made_is_found_wherever_it_is_written(tmp_path: Path) -> None:
    token = secrets.token_hex(32)
    for file in SHIPPED:
        written = tmp_path / file.name
        written.write_text(
            file.read_text(encoding="utf-8").replace("change-me", token).replace("192.0.2.10", token), encoding="utf-8"
        )
        told = "\n".join(check_cluster_file(written).errors)
        assert "64 hexadecimal digits" in told or "secret" in told
        assert token not in told.replace("s3://" + token, "")


def test_no_file_of_the_repository_holds_a_token() -> None:
    found = Findings()
    files = [ROOT / "cluster.yaml", *(file for file in (ROOT / "deploy").rglob("*") if file.is_file())]
    for file in files:
        check_secrets({file.name: file.read_text(encoding="utf-8").splitlines()}, found)
    assert len(files) >= 6
    assert found.errors == []
