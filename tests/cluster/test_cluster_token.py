"""Without the token no part of the cluster answers, and the token stands nowhere but in its own file."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from cluster.hosts import CHECKOUT, HOME, SHARED, Host
from cluster.twin import DASHBOARD, ENVIRONMENT, TOKEN, VENV, Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
REFUSED = ("401", "403")
PAGES = (
    "/api/version",
    "/api/jobs/",
    "/api/v0/nodes",
    "/api/v0/tasks",
    "/api/v0/actors",
    "/api/v0/logs",
    "/api/v0/cluster_metadata",
    "/api/cluster_status",
    "/api/component_activities",
    "/api/serve/applications/",
    "/api/train/v2/runs/v1",
    "/events",
    "/logical/actors",
    "/logs/",
    "/nodes?view=summary",
    "/worker/traceback",
)
"""Of the dashboard: all that show state, beside the empty page itself."""
AGENT = ("52365/", "52365/api/job_agent/jobs/", "52365/logs/")
"""Of each node's agent, by port."""
JOIN = """\
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
except Exception as error:
    print("refused", type(error).__name__)
else:
    print("let in", ray.cluster_resources())
"""
CALLS = """\
import sys, grpc
from ray.core.generated import gcs_service_pb2 as gcs, gcs_service_pb2_grpc as gcs_calls
from ray.core.generated import node_manager_pb2 as node, node_manager_pb2_grpc as node_calls
from ray.core.generated import ray_client_pb2 as client, ray_client_pb2_grpc as client_calls
from ray.core.generated import reporter_pb2 as agent, reporter_pb2_grpc as agent_calls
calls = {
    "jobs": lambda to: gcs_calls.JobInfoGcsServiceStub(to).GetAllJobInfo(gcs.GetAllJobInfoRequest(), timeout=10),
    "keys": lambda to: gcs_calls.InternalKVGcsServiceStub(to).InternalKVKeys(gcs.InternalKVKeysRequest(), timeout=10),
    "node": lambda to: node_calls.NodeManagerServiceStub(to).GetNodeStats(node.GetNodeStatsRequest(), timeout=10),
    "agent": lambda to: agent_calls.ReporterServiceStub(to).GetTraceback(agent.GetTracebackRequest(pid=1), timeout=10),
    "client": lambda to: client_calls.RayletDriverStub(to).ClusterInfo(client.ClusterInfoRequest(), timeout=10),
}
for place in sys.argv[1:]:
    for name, call in calls.items():
        with grpc.insecure_channel(place) as to:
            try:
                call(to)
            except grpc.RpcError as error:
                print(name, error.code().name)
            else:
                print(name, "ANSWERED", place)
"""
"""What Ray's own processes ask each other: one question of each service, to every port."""
HTTP_PATHS = ("/", "/metrics", "/api/version", "/api/jobs/", "/api/v0/nodes", "/logs/")
NUMBER = re.compile(r"# (?:HELP|TYPE) .*|[a-zA-Z_:][\w:]*(?:\{.*\})? [-+.\w]+")
"""A line of what Ray tells Prometheus."""
WITHOUT = ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 64})
"""Nothing, and another token."""


def status(host: Host, address: str, *options: str) -> str:
    """The HTTP status of an answer."""
    words = ["curl", "-s", "-o", "/dev/null", "-m", "20", "-w", "%{http_code}", *options, address]
    return host.run(*words, check=False).stdout


@pytest.mark.parametrize("options", [(), ("-H", "Authorization: Bearer wrong")], ids=["no token", "another token"])
def test_no_page_and_no_agent_answers(cluster: Cluster, options: tuple[str, ...]) -> None:
    places = [DASHBOARD + page for page in PAGES]
    places += [f"http://{host.address}:{page}" for host in cluster.hosts for page in AGENT]
    answers = {place: status(cluster.client, place, *options) for place in places}
    assert {place: answer for place, answer in answers.items() if answer not in REFUSED} == {}


def open_ports(host: Host) -> list[int]:
    """Those that other machines reach, but for SSH."""
    lines = host.run("ss", "-Hltn").stdout.splitlines()
    places = {line.split()[3].rpartition(":")[::2] for line in lines}
    loopback = ("127.", "[::1]", "[::ffff:127.")
    return sorted(int(port) for address, port in places if port != "22" and not address.startswith(loopback))


def test_every_open_port_wants_the_token_or_tells_numbers_alone(cluster: Cluster) -> None:
    """Ray cannot bind what it tells Prometheus to the machine itself: it says the same, whatever it is asked."""
    tellers = dict[str, int]()
    for host in cluster.hosts:
        for port in open_ports(host):
            for path in HTTP_PATHS:
                done = cluster.client.run(
                    "curl", "-s", "-m", "10", "-f", f"http://{host.address}:{port}{path}", check=False
                )
                if done.returncode == 0:
                    lines = done.stdout.splitlines()
                    assert lines and [line for line in lines if not NUMBER.fullmatch(line)] == []
                    tellers[f"{host.name}:{port}"] = len(lines)
    # One of each node's agent; on the head also the dashboard's and the autoscaler's.
    assert len(tellers) == len(list(cluster.hosts)) + 2, tellers


def test_no_service_of_rays_answers(cluster: Cluster) -> None:
    places = [f"{host.address}:{port}" for host in cluster.hosts for port in open_ports(host)]
    told = cluster.client.run(f"{VENV}/python", "-c", CALLS, *places, timeout=600).stdout.splitlines()
    assert not [line for line in told if "ANSWERED" in line]
    refused = [line.split()[0] for line in told if line.endswith("UNAUTHENTICATED")]
    nodes = len(list(cluster.hosts))
    assert Counter(refused) == {"jobs": 1, "keys": 1, "client": 1, "node": nodes, "agent": nodes}


def test_no_job_is_taken(cluster: Cluster) -> None:
    posted = ("-X", "POST", "-H", "Content-Type: application/json", "-d", '{"entrypoint": "true"}')
    assert status(cluster.client, f"{DASHBOARD}/api/jobs/", *posted) in REFUSED
    agent = f"http://{cluster.workers[0].address}:52365/api/job_agent/jobs/"
    assert status(cluster.client, agent, *posted) in REFUSED


def test_nobody_joins(cluster: Cluster) -> None:
    tried = dict[Path, subprocess.Popen[bytes]]()
    for number, given in enumerate(WITHOUT):  # at once: Ray takes 20 s to give up
        log = cluster.hosts.folder / f"joins-{number}.log"
        words = [f"{VENV}/python", "-c", JOIN, f"{cluster.head.address}:6379"]
        tried[log] = cluster.workers[number].start(*words, log=log, env={**ENVIRONMENT, **given})
    for log, process in tried.items():
        process.wait(timeout=300)
        said = log.read_text(errors="replace")
        assert "\nrefused " in f"\n{said}" and "let in" not in said, said


def test_with_the_token_one_joins(cluster: Cluster) -> None:
    words = [f"{VENV}/python", "-c", JOIN, f"{cluster.head.address}:6379"]
    assert "let in" in cluster.workers[0].run(*words, env=ENVIRONMENT, timeout=300).stdout


def test_the_dashboard_listens_on_the_head_itself_only(cluster: Cluster) -> None:
    assert status(cluster.client, f"http://{cluster.head.address}:8265/") == "000"


def test_the_token_is_in_no_file_but_its_own(cluster: Cluster) -> None:
    token = cluster.client.sees(TOKEN).read_text()
    (cluster.hosts.folder / "pattern").write_text(token + "\n")
    pattern = cluster.hosts.folder / "pattern"
    search = f"grep -rlF --devices=skip -f {pattern} /tmp/ray* {HOME} {SHARED}"
    for host in (*cluster.hosts, cluster.client):
        found = host.run("sh", "-c", search, check=False).stdout.split()
        assert TOKEN in found and set(found) <= {TOKEN, f"{HOME}/.ray/header"}, host.name
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    files = [CHECKOUT / name for name in tracked.stdout.split("\0") if name]
    assert [file for file in files if file.is_file() and token.encode() in file.read_bytes()] == []


def test_the_token_is_in_no_list_of_processes(cluster: Cluster) -> None:
    token = cluster.client.sees(TOKEN).read_text()
    for host in (*cluster.hosts, cluster.client):
        commands = host.processes().values()
        assert commands and not any(token in command for command in commands), host.name
