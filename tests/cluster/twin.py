"""A cluster of hosts of our own by Ray's launcher, as the README says: `deploy/local.yaml` with their addresses."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cluster.hosts import CHECKOUT, HOME, Host, Hosts
from cluster.readme import FILE, FOLDER, Chapter

VENV = f"{HOME}/pmd_ray/venv/bin"
TOKEN = f"{HOME}/.ray/auth_token"
DASHBOARD = "http://127.0.0.1:8265"
ENVIRONMENT = {
    "PATH": f"{VENV}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    # Its default never starts the workers of a `local` provider.
    "RAY_UP_enable_autoscaler_v2": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "OMP_NUM_THREADS": "1",
}
TYPED = {
    **{name: value for name, value in ENVIRONMENT.items() if name != "RAY_AUTH_MODE"},
    # `make wheel` downloads nothing here: what builds is in the virtual environment.
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "false",
}
"""Of commands that are typed as the README says: what it tells to export is not there before."""
WORKER_CPUS = 1
FIRST = "nice -n -10 env RAY_worker_niceness=10"
"""Whatever else the machine does, Ray's own processes come first: a node whose agent takes more than 15 s to start
gives up (Ray's issue 65983). Stages are as nice as anything else."""
UP_S = 600.0
WORKERS_S = 300.0
DOWN_S = 180.0


def twin_of(hosts: Hosts) -> dict[str, Any]:
    """The shipped file with other addresses and keys, and one core for each worker."""
    config: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy/local.yaml").read_text(encoding="utf-8"))
    head, *workers = hosts
    config["provider"] |= {"head_ip": head.address, "worker_ips": [host.address for host in workers]}
    config["min_workers"] = config["max_workers"] = len(workers)
    config["auth"] = {"ssh_user": "root", "ssh_private_key": "~/.ssh/id_ed25519"}
    for commands, also in (
        ("head_start_ray_commands", ""),
        ("worker_start_ray_commands", f" --num-cpus={WORKER_CPUS}"),
    ):
        config[commands] = [line.replace("ray start ", f"{FIRST} ray start{also} ") for line in config[commands]]
    return config


class Cluster:
    """What a user at the client does with it."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.client = hosts, hosts.client
        self.chapter = Chapter()
        """What the README says of clusters."""
        self._exported = ""

    @property
    def head(self) -> Host:
        return self.hosts["h0"]

    @property
    def workers(self) -> list[Host]:
        return list(self.hosts)[1:]

    def typed(self, start: str, *, last: bool = False) -> str:
        """Run the README's next command, which begins so, in the checkout; what it prints.

        An `export` holds for those that follow.

        Args:
            last: It is the chapter's last command, and others may have been left out before it.
        """
        line = self.chapter.take(start, last=last)
        if line.startswith("export "):
            self._exported += f"{line}; "
            return ""
        return self.client.run("bash", "-ec", self._line(line), env=TYPED, timeout=UP_S).stdout

    def typed_and_left(self, start: str, log: Path) -> subprocess.Popen[bytes]:
        """Start the README's next command, which begins so, and leave it running."""
        return self.client.start("bash", "-ec", self._line(f"exec {self.chapter.take(start)}"), env=TYPED, log=log)

    def _line(self, line: str) -> str:
        return f"cd {FOLDER}; {self._exported}{line}"

    def pmd(self, *words: str, timeout: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of ours at the client."""
        return self.client.run(f"{VENV}/pmd", *words, env=ENVIRONMENT, timeout=timeout, check=check)

    def ray(self, *words: str, timeout: float = UP_S, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One of Ray's at the client."""
        return self.client.run(f"{VENV}/ray", *words, env=ENVIRONMENT, timeout=timeout, check=check)

    def python(self, code: str, *, on: Host, env: Mapping[str, str] | None = None, timeout: float = 300) -> str:
        """What a few lines of Python print, run on a host."""
        environment = {**ENVIRONMENT, "RAY_AUTH_MODE": "token", **(env or {})}
        return on.run(f"{VENV}/python", "-c", code, env=environment, timeout=timeout).stdout

    def asked(self, path: str, *options: str) -> Any:
        """What the dashboard answers at the client, with the token.

        Args:
            options: Of curl.
        """
        words = ["curl", "-sS", "-m", "60", "-H", f"@{HOME}/.ray/header", *options, f"{DASHBOARD}{path}"]
        return json.loads(self.client.run(*words).stdout)

    def submit(self, line: str, *, id: str) -> None:
        """Give the job server a command line."""
        job = json.dumps({"entrypoint": line, "submission_id": id})
        answer = self.asked("/api/jobs/", "-H", "Content-Type: application/json", "--data", job)
        assert answer["submission_id"] == id, answer

    def alive(self) -> dict[str, str]:
        """Node numbers of the hosts that are there, by address."""
        nodes = self.asked("/api/v0/nodes?limit=100&timeout=30")["data"]["result"]["result"]
        return {node["node_ip"]: node["node_id"] for node in nodes if node["state"] == "ALIVE"}

    def await_all(self, seconds: float = WORKERS_S) -> None:
        """Wait until every host has joined."""
        limit, wanted = time.monotonic() + seconds, {host.address for host in self.hosts}
        while set(there := self.alive()) != wanted:
            assert time.monotonic() < limit, f"there: {sorted(there)}, wanted: {sorted(wanted)}; {self.monitor()}"
            time.sleep(1.0)

    def logs(self, name: str) -> str:
        """What a log of Ray's on the head says."""
        places = sorted(self.head.sees("/tmp/ray").glob(f"session_2*/logs/{name}"))
        return "".join(place.read_text(errors="replace") for place in places)

    def monitor(self) -> str:
        """The end of what the autoscaler says, and of what it heard from the workers."""
        return "\n".join(self.logs(f"monitor.{kind}")[-2000:] for kind in ("log", "err", "out"))


@contextmanager
def launched(hosts: Hosts) -> Iterator[Cluster]:
    """As the README says, until all workers are there and the dashboard's port is at the client; at the end its end."""
    cluster = Cluster(hosts)
    copy_checkout(hosts.client)
    (hosts.client.sees(FOLDER) / FILE).write_text(yaml.safe_dump(twin_of(hosts), sort_keys=False), encoding="utf-8")
    for start in ("pmd cluster token", "make wheel", "pmd cluster check"):
        cluster.typed(start)
    header = hosts.client.sees(f"{HOME}/.ray/header")
    header.touch(mode=0o600)
    header.write_text(f"Authorization: Bearer {hosts.client.sees(TOKEN).read_text()}\n")
    cluster.typed("ray up")
    cluster.typed_and_left("ray dashboard", hosts.folder / "tunnel.log")
    try:
        limit = time.monotonic() + 60
        while (
            hosts.client.run("curl", "-sS", "-m", "5", DASHBOARD, check=False).returncode and time.monotonic() < limit
        ):
            time.sleep(0.5)
        try:
            cluster.await_all()
        except AssertionError:
            # A worker that could not be started once is never tried again by the autoscaler, but by another `ray up`.
            cluster.ray("up", "-y", f"{FOLDER}/{FILE}")
            cluster.await_all()
        yield cluster
    finally:
        cluster.typed("ray down", last=True)
    await_end(cluster)


def copy_checkout(client: Host) -> None:
    """This checkout as it is, but for what git ignores, with the client's virtual environment as if just installed."""
    list_files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(list_files, cwd=CHECKOUT, capture_output=True, check=True).stdout
    place = client.sees(FOLDER)
    place.mkdir(parents=True)
    words = ["rsync", "-a", "--from0", "--files-from=-", "--ignore-missing-args", f"{CHECKOUT}/", f"{place}/"]
    subprocess.run(words, input=names, check=True)
    own = f"{FOLDER}/.venv"
    client.run("sh", "-ec", f"mkdir {own}; ln -s {HOME}/pmd_ray/venv/* {own}; touch {own}/.installed")


def await_end(cluster: Cluster) -> None:
    """`ray down` ends the head; the workers miss it and end by themselves."""
    limit = time.monotonic() + DOWN_S
    while left := [
        host.name for host in cluster.hosts if any("/raylet " in line for line in host.processes().values())
    ]:
        assert time.monotonic() < limit, f"Ray still runs on {left}"
        time.sleep(1.0)
