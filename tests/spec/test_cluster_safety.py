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


@pytest.mark.parametrize("host", ["0.0.0.0", '"0.0.0.0"', "'::'", "$H", "10.0.0.5", "$(hostname -i)"])
def test_a_dashboard_beyond_this_machine(host: str) -> None:
    start = f"H=0.0.0.0; nice ray start --head --dashboard-host={host} --autoscaling-config=~/ray_bootstrap_config.yaml"
    (error,) = broken(AWS, put("head_start_ray_commands", [start])).errors
    assert error.startswith("head_start_ray_commands[0]: --dashboard-host ")
    assert "to the network; say 127.0.0.1" in error


@pytest.mark.parametrize("host", ["127.0.0.1", '"127.0.0.1"', "'::1'", "localhost"])
def test_a_dashboard_of_this_machine(host: str) -> None:
    start = f"ray start --head --dashboard-host {host} --autoscaling-config=~/ray_bootstrap_config.yaml"
    assert broken(AWS, put("head_start_ray_commands", [start])).errors == ()


@pytest.mark.parametrize(
    "option", ["-p 8265:8265", "-P", "-p8265:8265", "-itp 8265:8265", "--publish=8265:8265", "--ulimit core=0 -p 1:1"]
)
def test_a_published_port(option: str) -> None:
    (error,) = broken(AWS, lambda one: one["docker"]["run_options"].append(option)).errors
    assert error.startswith("docker.run_options[8]: '-")
    assert "opens a port" in error


def test_a_file_of_variables_is_warned_of() -> None:
    done = broken(AWS, lambda one: one["docker"]["run_options"].append("--env-file=/etc/x"))
    assert [line for line in done.warnings if "--env-file '/etc/x'" in line]


@pytest.mark.parametrize(
    "option",
    ["--ulimit core=0 -e RAY_AUTH_MODE=disabled", '--env "RAY_AUTH_MODE=disabled"', "-eRAY_AUTH_MODE=disabled"],
)
def test_a_later_docker_option_wins(option: str) -> None:
    errors = broken(AWS, lambda one: one["docker"]["run_options"].append(option)).errors
    assert [line.partition(":")[0] for line in errors] == ["head_start_ray_commands", "worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE is '" in line for line in errors)


ELSEWHERE = [
    {"setup_commands": ["export RAY_AUTH_MODE=token PMD_STORAGE=/srv/pmd_ray/store"]},
    {"worker_start_ray_commands": ["echo RAY_AUTH_MODE=token", "WORKER"]},
    {"worker_start_ray_commands": ["RAY_AUTH_MODE=token ray stop", "WORKER"]},
    {"worker_start_ray_commands": ["export RAY_AUTH_MODE=token", "WORKER"]},
    {"worker_start_ray_commands": ["RAY_AUTH_MODE=token; WORKER"]},
    {"worker_start_ray_commands": ["(export RAY_AUTH_MODE=token); WORKER"]},
    {"worker_start_ray_commands": ["RAY_AUTH_MODE=token ray stop; WORKER"]},
    {"worker_start_ray_commands": ["export RAY_AUTH_MODE=token; unset RAY_AUTH_MODE; WORKER"]},
    {"worker_start_ray_commands": ["# export RAY_AUTH_MODE=token\nWORKER"]},
]


@pytest.mark.parametrize("changed", ELSEWHERE, ids=str)
def test_a_variable_of_another_command_does_not_reach_ray(changed: dict[str, list[str]]) -> None:
    start = "PMD_STORAGE=/srv/pmd_ray/store ray start --address=$RAY_HEAD_IP:6379"

    def change(document: dict[str, Any]) -> None:
        document["worker_start_ray_commands"] = [start]
        for key, commands in changed.items():
            document[key] = [one.replace("WORKER", start) for one in commands]

    (error,) = broken(LOCAL, change).errors
    assert error.startswith("worker_start_ray_commands: RAY_AUTH_MODE is not set")


@pytest.mark.parametrize(
    "start",
    [
        "RAY_AUTH_MODE=token PMD_STORAGE=/srv/pmd_ray/store START",
        "export RAY_AUTH_MODE=token PMD_STORAGE=/srv/pmd_ray/store && START",
        "env RAY_AUTH_MODE=token PMD_STORAGE=/srv/pmd_ray/store START",
        "bash -lc 'export RAY_AUTH_MODE=token; PMD_STORAGE=/srv/pmd_ray/store START'",
        "{ export RAY_AUTH_MODE=token\n export PMD_STORAGE=/srv/pmd_ray/store; START; }",
    ],
)
@pytest.mark.parametrize("program", ["ray", "~/venv/bin/ray", "python -m ray.scripts.scripts", "nohup nice ray"])
def test_variables_before_ray_start_reach_it(start: str, program: str) -> None:
    written = start.replace("START", f"{program} start --address=$RAY_HEAD_IP:6379")
    assert broken(LOCAL, put("worker_start_ray_commands", [written])).errors == ()


def test_the_token_of_one_role_alone() -> None:
    def change(document: dict[str, Any]) -> None:
        del document["file_mounts"]["~/.ray/auth_token"]
        document["docker"]["head_run_options"].append("-e RAY_AUTH_TOKEN_PATH=/etc/token")

    (error,) = broken(AWS, change).errors
    assert error.startswith("file_mounts: no token reaches the nodes")


@pytest.mark.parametrize("place", ["/home/ray/.ray/auth_token", "/root/.ray/auth_token"])
def test_the_token_at_a_place_written_out(place: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["file_mounts"][place] = document["file_mounts"].pop("~/.ray/auth_token")

    assert broken(AWS, change).errors == ()


def test_a_token_in_the_command_line_of_docker() -> None:
    option = "-e RAY_AUTH_TOKEN=$(cat ~/.ray/auth_token)"
    (error,) = broken(AWS, lambda one: one["docker"]["run_options"].append(option)).errors
    assert error.startswith("docker.run_options[8]: RAY_AUTH_TOKEN stands in the command line of docker run")


@pytest.mark.parametrize("key", ["SecurityGroupIds", "NetworkInterfaces"])
def test_groups_that_pass_by_the_checked_one_are_warned_of(key: str) -> None:
    done = broken(AWS, put(f"available_node_types/gpu_1/node_config/{key}", ["x"]))
    assert [line for line in done.warnings if f"gpu_1.node_config.{key}: takes the place of" in line]


def test_a_group_of_a_new_name_is_open_as_well() -> None:
    warnings = broken(AWS, put("provider/security_group", None)).warnings
    assert [line for line in warnings if "also in a group of a new name" in line]


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
    "aws configure": "aws configure set aws_secret_access_key wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00",
    "an option": "mysql --password hunter2hunter2",
    "an address": "pip install --index-url https://user:hunter2hunter2@pypi.example/simple",
    "wandb": "wandb login 0123456789" + "0123456789" * 3,
    "a request": "curl -H 'Authorization: Bearer abcdefghijklmnop' x",
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
        {"env": [{"name": "RAY_AUTH_TOKEN", "value": "short"}]},
        {"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"}]},
        {"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "/JalrXUtnFEMIK7/MDENGbPxRfiCYEXAMPLEKEY0"}]},
        {"env": [{"name": "WANDB_API_KEY", "value": "0123456789"}]},
        {"env": [{"name": "PMD_STORAGE", "value": "s3://KEY:SEC/RET@bucket/x"}]},
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
        "git clone https://$USER:$TOKEN@example.org/x",
        "pip install git+https://example.org:8080/x@v1",
        "huggingface-cli login --token $HF_TOKEN",
        "x --token-file /etc/token --password-stdin",
        "abfss://container@account.dfs.core.windows.net/x",
    ],
)
def test_what_is_no_secret(value: str) -> None:
    found = Findings()
    check_secrets({"setup_commands": [value]}, found)
    assert found.errors == []


def test_an_address_with_a_secret_is_never_repeated() -> None:
    def change(document: dict[str, Any]) -> None:
        document["docker"]["run_options"][2] = "-e PMD_STORAGE=s3://KEY:hunter2@bucket/x"
        document["docker"]["head_run_options"].append("-e PMD_STORAGE=s3://KEY:hunter3@")

    errors = broken(AWS, change).errors
    assert any("a password in an address" in line for line in errors)
    assert any("one place for all nodes" in line for line in errors)
    assert "hunter" not in "".join(errors)


def test_what_anchors_repeat_is_told_once() -> None:
    same = {"password": "correct horse"}
    found = Findings()
    check_secrets({"a": same, "b": [same, same]}, found)
    assert len(found.errors) == 1


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
