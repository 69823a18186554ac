"""`ray up cluster.yaml` as far as it goes without AWS: Ray's own bootstrap and launch, against moto's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from spec.cluster_files import AWS, documents

pytestmark = pytest.mark.cluster
REGION = "us-east-1"
PROFILES = ("pmd-ray-head", "pmd-ray-worker")
CREDENTIAL = "testing"
"""Every one of them: no account takes it."""


@dataclass(frozen=True)
class Cloud:
    """An account without anything but the two instance profiles, and what Ray made of the file there."""

    config: dict[str, Any]
    ec2: Any
    iam: Any


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Of all tests here: making one takes seconds."""
    import boto3
    from moto import mock_aws

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, CREDENTIAL)
        # By itself moto puts keys of its own over these.
        with mock_aws(config={"core": {"mock_credentials": False}}):
            iam, ec2 = boto3.client("iam", REGION), boto3.client("ec2", REGION)
            for name in PROFILES:
                iam.create_instance_profile(InstanceProfileName=name)
            forget()
            yield Cloud(bootstrapped(documents(AWS)[0]), ec2, iam)
        forget()


def bootstrapped(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of a file before it starts the head."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(config))
    validate_config(prepared)
    made: dict[str, Any] = bootstrap_aws(prepared)
    return made


def forget() -> None:
    """Ray keeps its clients, which belong to one moto."""
    from ray.autoscaler._private.aws import config, utils

    for cached in (utils.resource_cache, utils.client_cache, config._get_subnets_or_die):
        cached.cache_clear()


def security_group(cloud: Cloud) -> dict[str, Any]:
    """The one that Ray has made."""
    named = [{"Name": "group-name", "Values": ["pmd-ray"]}]
    (found,) = cloud.ec2.describe_security_groups(Filters=named)["SecurityGroups"]
    made: dict[str, Any] = found
    return made


def put_rules(cloud: Cloud, rules: list[dict[str, Any]]) -> None:
    """In place of those that the security group has."""
    group = security_group(cloud)
    cloud.ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
    cloud.ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)


def kind_of(name: str) -> str:
    """What Ray calls the nodes of a type."""
    return "head" if name == "head" else "worker"


def launched(cloud: Cloud, name: str, *, count: int = 1) -> tuple[dict[str, Any], list[Any]]:
    """The request that starts nodes of a type, and the machines that came of it."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider = AWSNodeProvider(cloud.config["provider"], cloud.config["cluster_name"])
    asked: list[dict[str, Any]] = []
    events = provider.ec2_fail_fast.meta.client.meta.events
    events.register_first("provide-client-params.ec2.RunInstances", lambda params, **_: asked.append(dict(params)))
    tags = {"ray-node-type": kind_of(name), "ray-user-node-type": name, "ray-node-name": "n"}
    machines = provider.create_node(cloud.config["available_node_types"][name]["node_config"], tags, count)
    assert len(asked) == 1
    return asked[0], list(machines.values())


def test_only_ssh_is_open(cloud: Cloud) -> None:
    group = security_group(cloud)
    rules = group["IpPermissions"]
    outside = [rule for rule in rules if rule["IpRanges"] or rule.get("Ipv6Ranges")]
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in outside] == [("tcp", 22, 22)]
    inside = [pair["GroupId"] for rule in rules for pair in rule["UserIdGroupPairs"]]
    assert inside == [group["GroupId"]]
    used = {tuple(node["node_config"]["SecurityGroupIds"]) for node in cloud.config["available_node_types"].values()}
    assert used == {(group["GroupId"],)}


def test_ray_makes_no_role_with_rights_to_everything(cloud: Cloud) -> None:
    assert cloud.iam.list_roles()["Roles"] == []
    assert {one["InstanceProfileName"] for one in cloud.iam.list_instance_profiles()["InstanceProfiles"]} == set(
        PROFILES
    )
    assert "IamInstanceProfile" not in cloud.config["head_node"]


def test_the_key_is_private_to_its_owner(cloud: Cloud) -> None:
    key = Path(cloud.config["auth"]["ssh_private_key"])
    assert key.stat().st_mode & 0o777 == 0o600
    assert {node["node_config"]["KeyName"] for node in cloud.config["available_node_types"].values()} == {key.stem}


@pytest.mark.parametrize(
    ("name", "machine", "profile", "spot"),
    [
        ("head", "m7i.2xlarge", "pmd-ray-head", False),
        ("gpu_1_spot", "g6.2xlarge", "pmd-ray-worker", True),
        ("gpu_1", "g6.2xlarge", "pmd-ray-worker", False),
        ("gpu_4_spot", "g6.12xlarge", "pmd-ray-worker", True),
        ("gpu_4", "g6.12xlarge", "pmd-ray-worker", False),
    ],
)
def test_what_is_asked_of_aws(cloud: Cloud, name: str, machine: str, profile: str, spot: bool) -> None:
    asked, started = launched(cloud, name)
    assert asked["InstanceType"] == machine
    assert asked["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/")
    assert asked["IamInstanceProfile"] == {"Name": profile}
    assert asked.get("InstanceMarketOptions") == ({"MarketType": "spot"} if spot else None)
    assert asked["MetadataOptions"]["HttpTokens"] == "required"
    assert asked["BlockDeviceMappings"][0]["Ebs"] == {"VolumeSize": 200, "VolumeType": "gp3", "Encrypted": True}
    assert (asked["MinCount"], asked["MaxCount"]) == (1, 1)
    assert asked["SecurityGroupIds"] == cloud.config["available_node_types"][name]["node_config"]["SecurityGroupIds"]
    assert "UserData" not in asked
    tags = {tag["Key"]: tag["Value"] for tag in started[0].tags}
    assert tags == {
        "ray-cluster-name": "pmd-ray",
        "ray-node-type": kind_of(name),
        "ray-user-node-type": name,
        "Name": "n",
    }
    assert started[0].instance_type == machine


def test_resources_are_what_the_machines_have(cloud: Cloud) -> None:
    written = documents(AWS)[0]["available_node_types"]
    for name, node in cloud.config["available_node_types"].items():
        for resource, amount in written[name]["resources"].items():
            assert node["resources"][resource] == amount
    machines = cloud.ec2.describe_instance_types(InstanceTypes=["g6.2xlarge", "g6.12xlarge"])["InstanceTypes"]
    has = {
        one["InstanceType"]: (one["VCpuInfo"]["DefaultVCpus"], sum(g["Count"] for g in one["GpuInfo"]["Gpus"]))
        for one in machines
    }
    for name in ("gpu_1_spot", "gpu_1", "gpu_4_spot", "gpu_4"):
        offered = written[name]["resources"]
        assert (offered["CPU"], offered["GPU"]) == has[written[name]["node_config"]["InstanceType"]]


def test_no_token_and_no_credential_reaches_aws(cloud: Cloud) -> None:
    for name in cloud.config["available_node_types"]:
        asked, _ = launched(cloud, name)
        assert "auth_token" not in repr(asked)
        assert CREDENTIAL not in repr(asked)


def test_rules_that_were_there_stay_as_they_are(cloud: Cloud) -> None:
    made = security_group(cloud)["IpPermissions"]
    put_rules(cloud, [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}])
    try:
        forget()
        bootstrapped(documents(AWS)[0])
        rules = security_group(cloud)["IpPermissions"]
        assert [(rule["FromPort"], rule["IpRanges"][0]["CidrIp"]) for rule in rules] == [(22, "203.0.113.7/32")]
    finally:
        put_rules(cloud, made)  # the account is that of all tests here
