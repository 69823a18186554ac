"""Files for `ray up`: the shipped ones are well; each broken rule is told, with its value and the way out."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from spec.cluster_files import AWS, GCP, KUBERAY, LAUNCHER, LOCAL, RAYCLUSTER, SHIPPED, broken, documents, put

from pmd_ray.spec.cluster_environment import roles_of
from pmd_ray.spec.cluster_file import check_cluster_file, check_documents
from pmd_ray.spec.cluster_findings import shown
from pmd_ray.spec.cluster_storage import SHARED
from pmd_ray.spec.errors import SpecError, UserError
from pmd_ray.store.location import SCHEMES

GPU_1, HEAD = "available_node_types/gpu_1", "available_node_types/head"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_shipped_files_have_no_error(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = check_cluster_file(file)
    assert done.errors == ()
    # What is left to whoever uses them is told, and nothing else.
    told = ("stands for a value of your own", "is not there", "RAY_UP_enable_autoscaler_v2=0")
    assert [line for line in done.warnings if not any(text in line for text in told)] == []
    assert any(told[0] in line for line in done.warnings)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_every_line_of_shipped_files_is_explained(file: Path) -> None:
    """Each has a comment over it, but for what Kubernetes itself always wants."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    told = [
        (before, line)
        for before, line in itertools.pairwise(["", *lines])
        if line.startswith("- ") or re.match(r"[\w~/.-]+:(\s|$)", line)
    ]
    assert len(told) > 20
    unexplained = {line for before, line in told if not before.startswith("#")}
    assert unexplained <= {"metadata:", "spec:", "kind: PersistentVolumeClaim", "kind: RayCluster", "kind: RayJob"}


CASES: list[tuple[Path, str | tuple[str, ...], Any, str]] = [
    (AWS, "cluster_name", None, "cluster_name: missing"),
    (AWS, "provider/region", None, "provider.region: missing"),
    (GCP, "provider/availability_zone", None, "provider.availability_zone: missing"),
    (GCP, "provider/project_id", None, "provider.project_id: missing"),
    (LOCAL, "provider/worker_ips", None, "provider.worker_ips: missing"),
    (AWS, "provider/type", "awz", "(aws, gcp, azure, local); did you mean 'aws'?"),
    (AWS, "provider/regoin", "x", "provider.regoin: unknown key; did you mean 'region'?"),
    (AWS, "auth/ssh_user", None, "auth.ssh_user: missing"),
    (AWS, "auth/ssh_usr", "x", "auth.ssh_usr: unknown key; did you mean 'ssh_user'?"),
    (AWS, "setup_comands", [], "setup_comands: unknown key; did you mean 'setup_commands'?"),
    (AWS, "setup_commands", "pip install x", "setup_commands: must be a list of commands, as in"),
    (AWS, "setup_commands", ["a", 3], "setup_commands: must be a list of commands"),
    (AWS, "max_workers", "8", "max_workers: must be a whole number, got '8'"),
    (AWS, "max_workers", -1, "max_workers: must be 0 or more, got -1"),
    (AWS, "max_workers", True, "max_workers: must be a whole number, got True"),
    (AWS, "idle_timeout_minutes", "ten", "idle_timeout_minutes: must be a number, got 'ten'"),
    (AWS, "max_workers", 6, "available_node_types.gpu_1_spot.max_workers: 8 is above the cluster's max_workers, 6"),
    (AWS, f"{GPU_1}/min_workers", 5, "gpu_1.min_workers: 5 is above its max_workers, 4"),
    (AWS, f"{GPU_1}/max_worker", 5, "gpu_1.max_worker: unknown key; did you mean 'max_workers'?"),
    (AWS, f"{GPU_1}/resources", None, "gpu_1.resources: missing"),
    (AWS, f"{GPU_1}/resources/GPU", 0.5, "gpu_1.resources.GPU: must be a whole number from 0, got 0.5"),
    (AWS, ("available_node_types", "gpu_1", "labels", "pmd-ray/gpus"), 1, "must be a text, got 1; quote it"),
    (AWS, f"{GPU_1}/resources/GPU", 0, "gpu_1.resources.GPU: is 0, so that no stage can use the 1 L4 of g6.2xlarge"),
    (AWS, f"{GPU_1}/resources/GPU", 2, "gpu_1.resources.GPU: is 2, g6.2xlarge has 1"),
    (GCP, f"{GPU_1}/resources/GPU", None, "gpu_1.resources.GPU: is 0, so that no stage can use the 1 L4"),
    (AWS, f"{GPU_1}/node_config/InstanceType", None, "gpu_1.node_config.InstanceType: missing"),
    (AWS, f"{GPU_1}/node_config/IamInstanceProfile", None, "gpu_1.node_config.IamInstanceProfile: missing"),
    (AWS, "head_node_type", "haed", "head_node_type: no node type 'haed'"),
    (AWS, "head_node_type", None, "head_node_type: missing"),
    (AWS, f"{HEAD}/node_config/InstanceMarketOptions", {"MarketType": "spot"}, "head is a spot machine"),
    (AWS, "available_node_types", None, "available_node_types: missing"),
    (LOCAL, "available_node_types", {"w": {"resources": {}, "node_config": {}}}, "provider local has none"),
    (LOCAL, "min_workers", 3, "min_workers: 3 is above max_workers, 2"),
    (AWS, "docker/worker_image", "rayproject/ray:2.40.0-py311-gpu", "has Ray 2.40.0, this project runs Ray"),
    (AWS, "docker/worker_image", "rayproject/ray:2.60.0-py310-gpu", "has Python 3.10, this project needs 3.11 to 3.13"),
    (AWS, "docker/container_name", None, "docker.container_name: missing"),
    (AWS, "docker/head_image", None, "docker.image: missing"),
    (AWS, "docker/run_options/2", "-e OTHER=1", "PMD_STORAGE: not set for the head and worker"),
    (AWS, "docker/run_options/2", "-e PMD_STORAGE=/data/runs", "PMD_STORAGE: /data/runs is a folder of each machine"),
    (LOCAL, "initialization_commands", [], "PMD_STORAGE: /srv/pmd_ray/store is a folder of each machine"),
    (AWS, "docker/head_run_options/0", "-e PMD_STORAGE=s3://other/x", "PMD_STORAGE: the head has s3://other/x, workers s3://change-me"),
    (AWS, ("file_mounts", "~/.ray/auth_token"), None, "file_mounts: no token reaches the nodes"),
]  # fmt: skip


CASES += [
    (AWS, "docker/run_options/2", f"-e PMD_STORAGE={place}", f"PMD_STORAGE: {said}")
    for place, said in (
        ("file:///tmp/pmd", "/tmp/pmd is a folder of each machine"),
        ("http://x", "no storage is known by 'http://'"),
        ("memory://x", "no storage is known by 'memory://'"),
        ("az://c", "no storage is known by 'az://'"),
        ("s3://", "s3:// names no bucket"),
        ("s3:/bucket", "s3:/bucket is neither an address nor an absolute path"),
        ("runs", "runs is neither an address nor an absolute path"),
    )
]
HEAD_START, WORKER_START = "head_start_ray_commands/1", "worker_start_ray_commands/1"
CASES += [
    (AWS, f"{GPU_1}/node_config/IamInstanceProfile", {}, "gpu_1.node_config.IamInstanceProfile: missing"),
    (AWS, f"{GPU_1}/node_config/IamInstanceProfile", "x", "must be {Name: ...} or {Arn: ...}, got 'x'"),
    (GCP, f"{GPU_1}/node_config/serviceAccounts", None, "gpu_1.node_config.serviceAccounts: missing"),
    (AWS, f"{GPU_1}/resources/CPU", 0, "gpu_1.resources.CPU: is 0, so that no stage runs there"),
    (AWS, HEAD_START, "ray start --dashboard-host=127.0.0.1", "ray start without --head"),
    (AWS, HEAD_START, "ray start --head --dashboard-host=127.0.0.1", "no --autoscaling-config"),
    (AWS, WORKER_START, "ray start --head --dashboard-host=127.0.0.1", "a cluster of its own of each worker"),
    (AWS, WORKER_START, "ray start", "ray start without --address"),
    (AWS, WORKER_START, "ray start --address=10.0.0.1:6379", "'10.0.0.1:6379' is not where Ray puts the head"),
    (AWS, WORKER_START, "ray start --address=$RAY_HEAD_IP:6380", "not 6380; say --address=$RAY_HEAD_IP:6379"),
    (AWS, WORKER_START, "ray start --address=$RAY_HEAD_IP", "'$RAY_HEAD_IP' names no port"),
    (AWS, WORKER_START, "ray start --address ${RAY_HEAD_IP}:6380", "the head listens on port 6379, not 6380"),
    (LOCAL, WORKER_START, "ray start --address=192.0.2.10:6380", "the head listens on port 6379, not 6380"),
    (
        AWS,
        HEAD_START,
        "ray start --head --port=7000",
        "the head listens on port 7000, not 6379; say --address=$RAY_HEAD_IP:7000",
    ),
    (GCP, "cluster_name", "PMD Ray", "cluster_name: Google Cloud takes a letter, then"),
    (GCP, "provider/availability_zone", "europe-west1-b", "is no zone of region us-central1"),
    (AWS, "provider/availability_zone", "us-east-1a, us-west-2b", "'us-west-2b' is no zone of region us-east-1"),
    (LOCAL, "auth/ssh_private_key", "", "auth.ssh_private_key: is empty"),
    (LOCAL, "provider/worker_ips", [1, 2], "provider.worker_ips[0]: must be an address in quotes, got 1"),
    (LOCAL, "provider/worker_ips", ["192.0.2.10"], "worker_ips[0]: '192.0.2.10' is the head, or named twice"),
    (LOCAL, "provider/worker_ips", ["a", "a"], "worker_ips[1]: 'a' is the head, or named twice"),
    (AWS, "max_workers", 10**9, "max_workers: must be at most 10,000, got 1000000000"),
    (AWS, "max_workers", 10**400, "max_workers: must be at most 10,000, got 1000"),
    (AWS, "max_workers", 10**5000, "max_workers: must be at most 10,000, got a number of thousands of digits"),
    (AWS, "max_workers", -(16**5000), "max_workers: must be 0 or more, got a number of thousands of digits"),
    (AWS, "idle_timeout_minutes", math.inf, "idle_timeout_minutes: must be a number, got inf"),
    (AWS, "idle_timeout_minutes", math.nan, "idle_timeout_minutes: must be a number, got nan"),
]


@pytest.mark.parametrize(
    ("file", "path", "value", "said"), CASES, ids=[f"{case[0].stem}-{number}" for number, case in enumerate(CASES)]
)
def test_each_broken_rule_is_told(file: Path, path: str | tuple[str, ...], value: Any, said: str) -> None:
    done = broken(file, put(path, value))
    assert [line for line in done.errors if said in line], done.errors


ONCE: list[tuple[Path, tuple[str, ...], Any]] = [
    (AWS, ("available_node_types", "gpu_1", "resources", "GPU"), "1"),
    (AWS, ("available_node_types", "gpu_1", "resources"), [1]),
    (AWS, ("available_node_types", "gpu_1", "node_config"), ["x"]),
    (AWS, ("available_node_types",), [1, 2]),
    (AWS, ("head_node_type",), 3),
    (AWS, ("docker", "head_image"), 3),
    (AWS, ("head_start_ray_commands",), "ray start --head"),
    (AWS, ("auth", "ssh_user"), 3),
    (LOCAL, ("provider", "worker_ips"), "192.0.2.11"),
    *((AWS, (key,), [1]) for key in ("cluster_name", "auth", "provider", "file_mounts")),
    (RAYCLUSTER, ("spec", "rayVersion"), 2.6),
]


@pytest.mark.parametrize("file, path, value", ONCE, ids=lambda value: str(value)[-40:])
@pytest.mark.parametrize("is_null", [False, True])
def test_a_wrong_type_is_told_once(file: Path, path: tuple[str, ...], value: Any, is_null: bool) -> None:
    def change(document: dict[str, Any]) -> None:
        put(path, "")(document)
        holder: Any = document
        for part in path[:-1]:
            holder = holder[part]
        holder[path[-1]] = None if is_null else value

    asked: list[Any] = []
    config = documents(file)
    change(config[-1])
    errors = check_documents(config, ray_rules=lambda given: [f"asked {asked.append(given)}"]).errors
    about = [line for line in errors if line.partition(":")[0].endswith(path[-1])]
    if not (is_null and path[-1] == "rayVersion"):
        assert len(about) == 1
        assert about[0].partition(": ")[2].startswith("must be a ")
    assert asked == []
    assert not [line for line in errors if "is 0" in line]


def test_a_null_node_type_is_told_once() -> None:
    def change(document: dict[str, Any]) -> None:
        document["available_node_types"]["gpu_1"] = None

    assert broken(AWS, change).errors == ("available_node_types.gpu_1: must be a mapping, got None",)


def test_an_empty_image_is_no_image() -> None:
    done = broken(AWS, put("docker/image", ""))
    assert done.errors == ()
    assert not [line for line in done.warnings if line.startswith("docker.image")]


MOUNTED = "mountpoint -q /mnt/pmd_ray || sudo mount -t nfs4 fs:/ /mnt/pmd_ray"


@pytest.mark.parametrize(
    ("command", "is_shared"),
    [
        (MOUNTED, True),
        ("if ! grep -q /mnt/pmd_ray /proc/mounts; then exit 1; fi", True),
        ("sudo gcsfuse bucket /mnt/pmd_ray", True),
        (f"# {MOUNTED}", False),
        ("echo amount; mkdir -p /mnt/pmd_ray", False),
        ("echo mount /mnt/pmd_ray", False),
        ("mkdir -p /mnt/pmd_ray/mount", False),
        ("mount fs:/ /mnt/other; mkdir /mnt/pmd_ray", False),
    ],
)
def test_a_folder_is_shared_by_a_command_that_mounts_it(command: str, is_shared: bool) -> None:
    def change(document: dict[str, Any]) -> None:
        document["docker"]["run_options"][2] = "-e PMD_STORAGE=file:///mnt/pmd_ray/store"
        document["docker"]["run_options"].append("--ulimit core=0 -v /mnt/pmd_ray:/mnt/pmd_ray")
        document["initialization_commands"] = [command]

    assert broken(AWS, change).errors == () if is_shared else "folder of each machine" in broken(AWS, change).errors[0]


@pytest.mark.parametrize(
    ("file", "place", "said"),
    [
        (AWS, "gs://b/x", "gs:// is Google Cloud's, these machines are AWS's"),
        (AWS, "gcs://b/x", "gcs:// is Google Cloud's, these machines are AWS's"),
        (GCP, "s3://b/x", "s3:// is AWS's, these machines are Google Cloud's"),
        (GCP, "abfs://b/x", "abfs:// is Azure's, these machines are Google Cloud's"),
        (AWS, "s3://b/x", ""),
        (GCP, "gs://b/x", ""),
        (GCP, "s3://b/x?endpoint_override=minio.example:9000", ""),
        (GCP, "hdfs://h/x", ""),
    ],
)
def test_a_bucket_of_another_cloud_is_warned_of(file: Path, place: str, said: str) -> None:
    (number,) = [n for n, one in enumerate(documents(file)[0]["docker"]["run_options"]) if "PMD_STORAGE=" in one]
    done = broken(file, put(f"docker/run_options/{number}", f"-e PMD_STORAGE={place}"))
    assert done.errors == ()
    found = [line for line in done.warnings if line.startswith("PMD_STORAGE: ")]
    assert [said in line for line in found] == ([True] if said else [])


def test_the_schemes_are_those_of_the_store() -> None:
    assert SHARED == SCHEMES


def test_the_head_may_be_named_by_its_address_where_it_is_known() -> None:
    start = documents(LOCAL)[0]["worker_start_ray_commands"][1].replace("$RAY_HEAD_IP", "192.0.2.10")
    assert broken(LOCAL, put(WORKER_START, start)).errors == ()


@pytest.mark.parametrize(
    ("port", "address"),
    [("--port=7000", "$RAY_HEAD_IP:7000"), ("--port $PORT", "$RAY_HEAD_IP:6380"), ("", "$RAY_HEAD_IP:6379")],
)
def test_ports_that_go_together_or_are_not_known(port: str, address: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["head_start_ray_commands"] = [
            f"ray start --head {port} --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml"
        ]
        document["worker_start_ray_commands"] = [f"ray start --address={address}"]

    assert broken(AWS, change).errors == ()


def test_machines_that_never_join_and_long_idle_times_are_warned_of() -> None:
    done = broken(LOCAL, lambda one: one.update(min_workers=1, max_workers=1))
    assert [line for line in done.warnings if "1 of 2 machines never join" in line]
    done = broken(AWS, put("idle_timeout_minutes", 10**9))
    assert [line for line in done.warnings if line.startswith("idle_timeout_minutes: is 1000000000: machines without")]


@pytest.mark.parametrize("needs_gpu", [None, True])
@pytest.mark.parametrize("key", ["CPU", "max_workers", "alone"])
def test_gpus_that_no_stage_can_use(key: str, needs_gpu: bool | None) -> None:
    def change(document: dict[str, Any]) -> None:
        types = document["available_node_types"]
        types["head"]["node_config"]["InstanceType"] = "g6.12xlarge"
        types["head"]["resources"] = {"CPU": 0, "GPU": 4}
        for name in [name for name in types if name != "head"]:
            if key == "alone":
                del types[name]
            elif key == "CPU":
                types[name]["resources"]["CPU"] = 0
            else:
                types[name]["max_workers"] = 0

    errors = broken(AWS, change, needs_gpu=needs_gpu).errors
    said = "no type has GPUs, the plan's stages ask for one" if needs_gpu else "no machine can run a stage"
    assert [line for line in errors if (said if needs_gpu or key != "CPU" else "so that no stage runs there") in line]


def test_a_head_with_gpus_and_cpus_is_a_cluster_of_one() -> None:
    def change(document: dict[str, Any]) -> None:
        head = document["available_node_types"]["head"]
        head["node_config"]["InstanceType"], head["resources"] = "g6.12xlarge", {"CPU": 48, "GPU": 4}
        document["available_node_types"] = {"head": head}

    assert broken(AWS, change, needs_gpu=True).errors == ()


@pytest.mark.parametrize("path", ["~nouser/d", "y" * 5000, "a\0b"], ids=["user", "long", "nul"])
def test_paths_that_no_machine_has(path: str) -> None:
    done = broken(AWS, lambda one: one["file_mounts"].update({"~/x": path}))
    assert done.errors == ()
    assert [line for line in done.warnings if line.startswith("file_mounts.~/x: ") and "is not there" in line]


def test_copies_that_nodes_cannot_use(tmp_path: Path) -> None:
    token, folder = tmp_path / "auth_token", tmp_path / "dist"
    folder.mkdir()
    token.write_text("", encoding="ascii")

    def said(path: Path) -> list[str]:
        done = broken(AWS, lambda one: one["file_mounts"].update({"~/x": str(path)}))
        return [line.partition(f"{path} ")[2] for line in done.warnings if line.startswith("file_mounts.~/x: ")]

    assert said(token) == ["is empty; make it with: pmd cluster token"]
    assert said(folder) == ["is empty; make it with: make wheel"]
    token.write_text("x", encoding="ascii")
    token.chmod(0o644)
    assert said(token) == ["can be read by others; make it yours alone with: chmod 600"]
    token.chmod(0o600)
    (folder / "pmd_ray.whl").write_text("x", encoding="ascii")
    assert said(token) == said(folder) == []


def test_errors_are_told_at_once() -> None:
    def change(document: dict[str, Any]) -> None:
        del document["cluster_name"], document["provider"]["region"], document["auth"]
        document["max_workers"] = 3
        document["docker"]["worker_image"] = "rayproject/ray:2.40.0-py39"

    errors = " ".join(broken(AWS, change).errors)
    for part in ("cluster_name", "region", "ssh_user", "gpu_1.max_workers", "gpu_1_spot.max_workers", "Ray 2.40.0"):
        assert part in errors


def test_a_mounted_folder_is_shared_and_must_be_in_the_containers() -> None:
    def on_efs(document: dict[str, Any]) -> None:
        document["docker"]["run_options"][2] = "-e PMD_STORAGE=/mnt/pmd_ray/store"
        document["initialization_commands"] = ["mountpoint -q /mnt/pmd_ray || sudo mount -t nfs4 fs:/ /mnt/pmd_ray"]

    def with_volume(document: dict[str, Any]) -> None:
        on_efs(document)
        document["docker"]["run_options"].append("-v /mnt/pmd_ray:/mnt/pmd_ray")

    assert [line for line in broken(AWS, on_efs).errors if "is not in the containers" in line]
    assert broken(AWS, with_volume).errors == ()


def test_one_machine_may_keep_a_folder_of_its_own() -> None:
    def alone(document: dict[str, Any]) -> None:
        document["provider"]["worker_ips"] = []
        document["min_workers"] = document["max_workers"] = 0
        document["initialization_commands"] = []

    assert [line for line in broken(LOCAL, alone).errors if "folder of each machine" in line] == []


@pytest.mark.parametrize("file", [AWS, GCP], ids=["aws", "gcp"])
def test_a_plan_without_gpus_has_no_use_for_gpu_types(file: Path) -> None:
    errors = broken(file, needs_gpu=False).errors
    assert not [line for line in errors if "head" in line]
    assert [line for line in errors if "gpu_1: has GPUs, the plan's stages train on CPUs" in line]

    def without_gpus(document: dict[str, Any]) -> None:
        document["available_node_types"] = {"head": document["available_node_types"]["head"]}

    errors = broken(file, without_gpus, needs_gpu=True).errors
    assert errors == (
        "available_node_types: no type has GPUs, the plan's stages ask for one; add a type, or --device cpu",
    )


def test_warnings_are_no_errors() -> None:
    def doubtful(document: dict[str, Any]) -> None:
        del document["available_node_types"]["gpu_1"], document["max_workers"]
        document["available_node_types"]["head"]["resources"] = {}
        document["docker"]["head_image"] = "mine/ray:latest"
        document["docker"]["run_options"].append("--privileged")
        del document["provider"]["security_group"]
        for node in document["available_node_types"].values():
            node["max_workers"] = 2
            del node["node_config"]["ImageId"]

    done = broken(AWS, doubtful)
    assert done.errors == ()
    warned = " ".join(done.warnings)
    for part in (
        "no type on demand beside",
        "say {CPU: 0}",
        "its tag does not say",
        "--privileged",
        "max_workers: missing",
    ):
        assert part in warned


def test_rays_own_rules_are_asked_where_keys_and_types_are_well(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def rules(config: dict[str, Any]) -> list[str]:
        asked.append(config)
        return ["file: Ray refuses it: so"]

    written = tmp_path / "cluster.yaml"
    config = documents(AWS)[0]
    written.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert check_cluster_file(written, ray_rules=rules).errors == ("file: Ray refuses it: so",)
    assert asked == [config]
    written.write_text(yaml.safe_dump(config | {"setup_commands": "x"}), encoding="utf-8")
    assert len(check_cluster_file(written, ray_rules=rules).errors) == 1
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "is empty"),
        ("- a\n", "must be a mapping of settings, got a list"),
        ("a: [\n", "line 2"),
        ("a: 1\na: 2\n", "key 'a' is given twice"),
        ("a: !!python/object/apply:os.system [echo]\n", "could not determine a constructor"),
        ("max_workers: 0x" + "f" * 5000, "line 1, column 14: a number above"),
        ("? 0x" + "f" * 5000 + "\n: 1", "a number above"),
        ('"\\uD800": x', "\\ud800: unknown key"),
        ("cluster_name: a\n---\ncluster_name: b\n", "2 documents"),
    ],
)
def test_what_is_no_cluster_file(tmp_path: Path, written: str, said: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(written, encoding="utf-8")
    try:
        told = "\n".join(check_cluster_file(file).errors)
    except SpecError as error:
        told = str(error)
    assert said in told


@pytest.mark.parametrize("key", ["cluster_name", "setup_commands", "available_node_types", "docker"])
@pytest.mark.parametrize(("levels", "width"), [(1500, 1), (30, 9)], ids=["deep", "large"])
def test_what_aliases_make_deep_or_large_is_told_of(tmp_path: Path, key: str, levels: int, width: int) -> None:
    lines = [f"- &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, levels)]
    file = tmp_path / "cluster.yaml"
    file.write_text("\n".join(["defs:", "- &a0 [x]", *lines, f"{key}: *a{levels - 1}"]), encoding="utf-8")
    (error,) = [line for line in check_cluster_file(file).errors if line.startswith(f"{key}: must be")]
    assert "[[[" in error and len(error) < 200


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x" * 100, "'" + "x" * 56 + "..."),
        ("x" * 58, "'" + "x" * 58 + "'"),
        ([1, "a", None], "[1, 'a', None]"),
        ({"a": {"b": 1.5}}, "{'a': {'b': 1.5}}"),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16..."),
        ([["x" * 100]], "[['" + "x" * 54 + "..."),
    ],
)
def test_values_as_messages_repeat_them(value: Any, said: str) -> None:
    assert shown(value) == said


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cluster file"):
        check_cluster_file(tmp_path / "cluster.yaml")
    with pytest.raises(UserError, match="is a folder"):
        check_cluster_file(tmp_path)
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    with pytest.raises(SpecError, match="not UTF-8 at byte 3"):
        check_cluster_file(tmp_path / "latin")


HUGE = (10**5000, -(10**400), math.inf, math.nan, "~nouser/x", "9" * 5000, "a\0'")
VALUES = (None, 3, "x", [], [1], {"a": None}, [{"b": [None]}])


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*place, key)
            yield from _places(inner, (*place, key))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_no_value_anywhere_makes_the_check_fall_over(file: Path) -> None:
    places = list(_places(documents(file)[-1]))
    assert len(places) > 20
    for (*way, last), value in zip(places * 3, itertools.cycle([*VALUES, *HUGE]), strict=False):

        def change(document: dict[str, Any], way: list[Any] = way, last: Any = last, value: Any = value) -> None:
            holder: Any = document
            for part in way:
                holder = holder[part]
            holder[last] = value

        broken(file, change)


def test_the_newer_autoscaler_is_warned_of() -> None:
    assert any("RAY_UP_enable_autoscaler_v2=0" in line for line in check_cluster_file(LOCAL).warnings)
    told = check_cluster_file(LOCAL, environment={"RAY_UP_enable_autoscaler_v2": "0"}).warnings
    assert not any("RAY_UP_enable_autoscaler_v2=0" in line for line in told)


@pytest.mark.parametrize("file", LAUNCHER, ids=lambda file: file.name)
def test_limits_and_health_of_shipped_files(file: Path) -> None:
    written = file.read_text(encoding="utf-8")
    names = ("period_ms", "timeout_ms", "failure_threshold")
    _noticed_in_time(*(int(re.findall(rf"health_check_{name}=(\d+)", written)[0]) for name in names))
    for part in ("raylet_start_wait_time_s=180", "agent_register_timeout_ms=170000"):
        assert part in written
    starts = [line for line in written.splitlines() if "ray start --" in line and not line.strip().startswith("#")]
    assert len(starts) == 2
    assert all("--object-store-memory=" in line for line in starts)
    for role in roles_of(documents(file)[0]):
        assert 0.5 < float(role.variables["RAY_local_fs_capacity_threshold"]) <= 0.95


@pytest.mark.parametrize("file", KUBERAY, ids=lambda file: file.name)
def test_limits_and_health_of_pods(file: Path) -> None:
    spec = documents(file)[-1]["spec"]
    spec = spec.get("rayClusterSpec", spec)
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        container = pod["containers"][0]
        given = {one["name"]: one["value"] for one in container["env"]}
        assert 0.5 < float(given["RAY_local_fs_capacity_threshold"]) <= 0.95
        assert (given["RAY_raylet_start_wait_time_s"], given["RAY_agent_register_timeout_ms"]) == ("180", "170000")
        store = int(group["rayStartParams"]["object-store-memory"])
        (shm,) = [one["emptyDir"] for one in pod["volumes"] if one.get("emptyDir", {}).get("medium") == "Memory"]
        assert store <= _bytes(shm["sizeLimit"]), "the object store lies in /dev/shm"
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        assert _bytes(shm["sizeLimit"]) < _bytes(limits["memory"])
        assert {"cpu", "memory", "ephemeral-storage"} <= limits.keys() == requests.keys()
        assert 0 < _bytes(requests["ephemeral-storage"]) <= _bytes(limits["ephemeral-storage"])
    env = {one["name"]: one["value"] for one in spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]}
    _noticed_in_time(
        *(int(env[f"RAY_health_check_{name}"]) for name in ("period_ms", "timeout_ms", "failure_threshold"))
    )


def _bytes(quantity: str) -> int:
    return int(quantity.removesuffix("Gi")) << 30


def _noticed_in_time(period: int, timeout: int, misses: int) -> None:
    # Ray gives a node up at the miss after so many: with 3,000, 5,000 and 4 that took 30 to 32 s.
    assert (misses + 1) * timeout + misses * period <= 30_000
