"""A real cluster of one machine with a token: jobs end with their true result, and who has no token gets nothing."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from reference.killing import kill, processes
from reference.tiny import write_graph

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PATIENCE_S = 600.0
CHAIN = """\
layers: [2, 1]
encoder: {name: scratch, dropout: 0.0, scratch: {layers: 2, width: 16, heads: 2, vocabulary: 200}}
mask_rates: [0.0]
optimiser: {epochs: 1, batch: 8, lr: 1.0e-3, steps_per_epoch: 2}
dataset: {source: SOURCE, text: {max_tokens: 20}}
"""
STUDY = "name: toy\nbaseline: chain.yaml\nvariants: {no_teacher: {teacher: none}}\nseeds: [0]\n"


@dataclass(frozen=True, kw_only=True)
class Head:
    """A head with two cores; its home has the token."""

    address: str
    home: Path
    token: str
    process: subprocess.Popen[bytes]

    def environment(self, home: Path | None = None) -> dict[str, str]:
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("RAY_", "PMD_"))}
        own = {"HOME": str(home or self.home), "RAY_API_SERVER_ADDRESS": self.address, "RAY_USAGE_STATS_ENABLED": "0"}
        return kept | own | {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "OMP_NUM_THREADS": "1"}

    def asked(self, path: str, *, method: str = "GET", token: str | None = None) -> Any:
        request = urllib.request.Request(f"{self.address}{path}", method=method)
        request.add_header("Authorization", f"Bearer {token or self.token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def pmd(
        self, *words: object, home: Path | None = None, folder: Path | None = None, path: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a command; `path`: where Python looks first."""
        return subprocess.Popen(
            [sys.executable, "-m", "pmd_ray", *map(str, words)],
            env=self.environment(home) | ({"PYTHONPATH": str(path)} if path else {}),
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def done(
        self, *words: object, home: Path | None = None, folder: Path | None = None, path: Path | None = None
    ) -> tuple[int, str, str]:
        """A command's exit code, output and messages."""
        process = self.pmd(*words, home=home, folder=folder, path=path)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert self.token not in out + err and "Traceback" not in err, err
        return process.returncode, out, err


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="pmd-ray-"))  # a socket's path is short
    started: Head | None = None
    try:
        started = _started(folder)
        yield started
    finally:
        if started is not None:
            _end(started, folder)
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path) -> Head:
    token = secrets.token_hex(32)
    home = folder / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(token, encoding="utf-8")
    (home / ".ray" / "auth_token").chmod(0o600)
    ports = dict(
        zip(("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port"), _free(4), strict=True)
    )
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    command += ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--temp-dir={folder / 'ray'}"]
    command += ["--object-store-memory=157286400", "--disable-usage-stats"]
    started = Head(address=f"http://127.0.0.1:{ports['dashboard-port']}", home=home, token=token, process=None)  # type: ignore[arg-type]
    slow = {"RAY_AUTH_MODE": "token", "RAY_raylet_start_wait_time_s": "180", "RAY_agent_register_timeout_ms": "170000"}
    process = subprocess.Popen(
        command,
        env=started.environment() | slow,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    started = Head(address=started.address, home=home, token=token, process=process)
    limit = time.monotonic() + PATIENCE_S
    while True:
        try:
            if started.asked("/api/v0/nodes")["data"]["result"]["total"]:
                return started
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > limit:
            _end(started, folder)
            pytest.fail("the head did not start")
        time.sleep(1)


def _free(count: int) -> list[int]:
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def _ours(head: Head, folder: Path) -> list[int]:
    """Processes of this cluster: of its session, or with its folder in their command line."""
    return [
        pid
        for pid, process in processes().items()
        if process.session == head.process.pid or str(folder) in process.command
    ]


def _end(head: Head, folder: Path) -> None:
    head.process.terminate()
    try:
        head.process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        head.process.kill()
    for pid in _ours(head, folder):
        kill(pid)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A study and its chain over a graph that only this machine has."""
    graph = write_graph(tmp_path / "graph")
    (tmp_path / "chain.yaml").write_text(CHAIN.replace("SOURCE", str(graph)), encoding="utf-8")
    (tmp_path / "toy.yaml").write_text(STUDY, encoding="utf-8")
    return tmp_path


def test_a_study_is_submitted_and_fetched(head: Head, toy: Path) -> None:
    store = toy / "store"
    code, source, err = head.done("data", "push", toy / "graph", "--storage", store)
    assert code == 0, err
    assert head.done("data", "list", "--storage", store)[1].startswith("source")
    code, out, err = head.done("submit", "ablate", "toy.yaml", "--storage", store, folder=toy)
    assert code == 0, out + err
    assert f"graph {toy / 'graph'}: {source.strip()} in {store}" in err
    assert "ended well" in err and "stages trained" in out
    code, out, err = head.done("fetch", "toy", "--storage", store, folder=toy)
    assert code == 0, err
    table = (toy / "runs" / "toy" / "tables" / "summary.csv").read_bytes()
    assert table == (head.home / "pmd_ray" / "runs" / "toy" / "tables" / "summary.csv").read_bytes()
    code, out, _ = head.done("status", "toy", "--storage", store)
    assert code == 0 and "stored" in out and "waiting" not in out
    code, out, _ = head.done("status", "toy", "--address", head.address)
    assert code == 0 and "SUCCEEDED" in out
    assert "stages trained" in head.done("logs", "toy")[1]


def test_a_chain_that_fails_gives_its_own_code(head: Head, toy: Path) -> None:
    (toy / "taken").write_text("no folder", encoding="utf-8")
    chain = ("submit", "distill", "chain.yaml", "--set", "dataset=cldr", "--out", toy / "taken")
    code, out, err = head.done(*chain, folder=toy)
    assert code in (1, 2) and "failed" in err, out + err


def test_a_stopped_job_is_told_as_stopped(head: Head, toy: Path) -> None:
    long = ("--set", "optimiser.epochs=100000", "--set", "dataset=cldr", "--out", toy / "chain")
    submitted = head.pmd("submit", "distill", "chain.yaml", *long, folder=toy)
    assert submitted.stderr is not None and submitted.stdout is not None
    job = submitted.stderr.readline().split()[1]
    while "epoch 1/" not in submitted.stdout.readline():
        assert submitted.poll() is None, submitted.stderr.read()
    watching = head.pmd("logs", job, "--follow")
    assert watching.stdout is not None and watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    assert "no longer followed, the job goes on" in watching.communicate(timeout=PATIENCE_S)[1]
    assert watching.returncode == 130 and submitted.poll() is None
    assert head.asked(f"/api/jobs/{job}")["status"] == "RUNNING"
    assert head.asked(f"/api/jobs/{job}/stop", method="POST")["stopped"]
    _, err = submitted.communicate(timeout=PATIENCE_S)
    assert submitted.returncode == 130 and "was stopped" in err, err


def test_who_has_no_token_or_another_one_gets_nothing(head: Head, tmp_path: Path) -> None:
    chain = ("submit", "distill", "demo", "--out", tmp_path / "chain")
    code, _, err = head.done(*chain, home=tmp_path)
    assert code == 2 and "wants a token, and this machine sends none" in err
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(secrets.token_hex(32), encoding="utf-8")
    code, _, err = head.done(*chain, home=tmp_path)
    assert code == 2 and "wants another token than the one on this machine" in err
    for verb in ("logs", "status"):
        assert head.done(verb, "toy", *(["--address", head.address] if verb == "status" else []), home=tmp_path)[0] == 2
    (port,) = _free(1)
    code, _, err = head.done(*chain, "--address", f"127.0.0.1:{port}")
    assert code == 2 and f"nobody answers at http://127.0.0.1:{port}" in err


def test_other_versions_and_missing_gpus_are_refused_by_what_the_cluster_says(head: Head, tmp_path: Path) -> None:
    code, _, err = head.done("submit", "ablate", "quickstart", "--device", "cuda", "--storage", tmp_path / "store")
    assert code == 2 and f"no GPU in the cluster at {head.address}" in err and "use --device cpu" in err
    # This side says that it is another Ray: what is compared with is what the cluster says of itself.
    other = tmp_path / "ray-2.9.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: ray\nVersion: 2.9.1\n", encoding="utf-8")
    code, _, err = head.done("submit", "distill", "demo", "--out", "/x", path=tmp_path)
    assert code == 2 and f"has Ray {version('ray')} (here: 2.9.1); install the same" in err
    jobs = head.asked("/api/jobs/")
    assert not [job for job in jobs if "quickstart" in job["entrypoint"] or "demo" in job["entrypoint"]]


def test_the_token_stands_in_no_log_and_no_command_line(head: Head) -> None:
    """After all that the other tests have run."""
    folder = head.home.parent
    commands = [process.command for process in processes().values()]
    assert not [command for command in commands if head.token in command]
    logs = [path for path in (folder / "ray").rglob("*") if path.is_file() and not path.is_symlink()]
    assert logs
    assert not [path for path in logs if head.token.encode() in path.read_bytes()]
    runs = [path for path in (head.home / "pmd_ray").rglob("*") if path.is_file()]
    assert not [path for path in runs if head.token.encode() in path.read_bytes()]
