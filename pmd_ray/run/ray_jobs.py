"""Ray's job server over HTTP: what it refuses, and what does not answer, becomes one clear message.

The token is Ray's affair: it is read from `~/.ray/auth_token` (or where RAY_AUTH_TOKEN_PATH says) by Ray itself, and
stands in no argument and no message of ours.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pmd_ray.run.autoscaler import may_come
from pmd_ray.run.job_server import Job, Node, Unreachable
from pmd_ray.spec.errors import UserError

PATIENCE = 60.0
"""Seconds that a request may take."""
FIRST_PATIENCE = 10.0
"""Likewise the first one."""
NOT_YET = "No available agent"
"""What a head that was just started answers: the process that starts jobs is not up."""
CHATTER = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)


class RayJobServer:
    """`JobServer` over Ray's own client."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self.address = client, address

    def submit(
        self,
        entrypoint: str,
        *,
        id: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
        resources: Mapping[str, float],
    ) -> None:
        begun = time.monotonic()
        while True:
            try:
                with asking(self.address):
                    self._client.submit_job(
                        entrypoint=entrypoint,
                        submission_id=id,
                        runtime_env=dict(runtime_env),
                        metadata=dict(metadata),
                        entrypoint_num_cpus=resources.get("CPU"),
                        entrypoint_num_gpus=resources.get("GPU"),
                    )
                return
            except UserError as error:
                if NOT_YET not in str(error) or time.monotonic() - begun > PATIENCE:
                    raise
            time.sleep(2.0)

    def job(self, id: str) -> Job | None:
        with asking(self.address):
            found = self._client._do_request("GET", f"/api/jobs/{quote(id, safe='')}")
            if found.status_code == 404:
                return None
            found.raise_for_status()
            return _job(found.json())

    def jobs(self) -> list[Job]:
        with asking(self.address):
            found = [_job(each) for each in self._got("/api/jobs/") if each.get("submission_id")]
        return sorted(found, key=lambda job: job.started or 0.0, reverse=True)

    def log(self, id: str) -> str:
        with asking(self.address):
            return str(self._client.get_job_logs(id))

    async def tail(self, id: str) -> AsyncIterator[str]:
        with asking(self.address):
            async for text in self._client.tail_job_logs(id):
                yield text

    def nodes(self) -> list[Node]:
        with asking(self.address):
            found = self._got("/api/v0/nodes?limit=10000&timeout=30")["data"]["result"]["result"]
        return [
            Node(
                address=each["node_ip"],
                head=bool(each["is_head_node"]),
                resources=each["resources_total"] or {},
                labels=each.get("labels") or {},
            )
            for each in found
            if each["state"] == "ALIVE"
        ]

    def grows(self) -> bool:
        report = self._report()
        return may_come(report.get("nodeTypeMapping") or {}, starting=_starting(report))

    def starting(self) -> bool:
        return _starting(self._report())

    def _report(self) -> Mapping[str, Any]:
        with asking(self.address):
            status = self._got("/api/cluster_status")["data"].get("clusterStatus") or {}
        report: Mapping[str, Any] = status.get("autoscalerReport") or {}
        return report

    def versions(self) -> dict[str, str]:
        with asking(self.address):
            told = {"ray": str(self._got("/api/version")["ray_version"])}
            found = self._client._do_request("GET", "/api/v0/cluster_metadata")
            if found.status_code == 200:  # not every version of Ray tells
                told["python"] = str(found.json()["data"]["pythonVersion"])
        return told

    def _got(self, path: str) -> Any:
        found = self._client._do_request("GET", path)
        found.raise_for_status()
        return found.json()


def _starting(report: Mapping[str, Any]) -> bool:
    return bool(report.get("pendingNodes") or report.get("pendingLaunches"))


def connect(address: str) -> RayJobServer:
    """The job server at an address, which answers and lets us in.

    Args:
        address: `http://HOST:PORT`, as its dashboard has it.

    Raises:
        Unreachable: nobody answers there, or something else.
        UserError: it wants a token that is not here, or another one.
    """
    _use_token()
    from ray.job_submission import JobSubmissionClient

    for name in CHATTER:
        logging.getLogger(name).setLevel(logging.WARNING)

    class Patient(JobSubmissionClient):  # type: ignore[misc]
        """Ray's client, which would wait for ever for a server that does not answer."""

        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            patience = FIRST_PATIENCE if endpoint == "/api/version" else PATIENCE
            return super()._do_request(method, endpoint, **{"timeout": patience, **options})

    with asking(address), _addressed(address):
        try:
            return RayJobServer(Patient(address), address)
        except (ValueError, KeyError, RuntimeError) as error:  # a web page, another program's JSON, a 404
            raise Unreachable(
                f"what answers at {address} is no job server of Ray ({_reason(error)}); give the address of its "
                "dashboard, as in --address http://127.0.0.1:8265"
            ) from None


@contextmanager
def asking(address: str) -> Iterator[None]:
    """Turn whatever goes wrong between us and a cluster into one message."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise UserError(_refused(address, wrong="Forbidden" in str(error))) from None
    except aiohttp.WSServerHandshakeError as error:
        if error.status in (401, 403):
            raise UserError(_refused(address, wrong=error.status == 403)) from None
        raise Unreachable(_silent(address, f"status {error.status}")) from None
    except (ConnectionError, TimeoutError, requests.RequestException, aiohttp.ClientError) as error:
        raise Unreachable(_silent(address, _reason(error))) from None
    except RuntimeError as error:
        if "WebSocket" in str(error):
            raise Unreachable(_silent(address, _reason(error))) from None
        raise UserError(f"the cluster at {address} refused: {_reason(error)}") from None


def _use_token() -> None:
    """Ray's client sends the token only where it is told to; one that is there is meant to be used."""
    places = (os.environ.get("RAY_AUTH_TOKEN_PATH"), "~/.ray/auth_token")
    there = bool(os.environ.get("RAY_AUTH_TOKEN")) or any(Path(p).expanduser().is_file() for p in places if p)
    if there:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def _addressed(address: str) -> Iterator[None]:
    """Ray's client lets the environment overrule the address that it is given."""
    name = "RAY_API_SERVER_ADDRESS"
    before = os.environ.get(name)
    os.environ[name] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _job(told: Mapping[str, Any]) -> Job:
    began, ended = told.get("start_time"), told.get("end_time")
    return Job(
        id=told.get("submission_id") or told.get("job_id") or "",
        state=str(told["status"]),
        entrypoint=told.get("entrypoint") or "",
        message=told.get("message") or "",
        started=began / 1000 if began else None,
        ended=ended / 1000 if ended else None,
        exit_code=told.get("driver_exit_code"),
        metadata=told.get("metadata") or {},
    )


def _refused(address: str, *, wrong: bool) -> str:
    here = "another token than the one on this machine" if wrong else "a token, and this machine sends none"
    mode = os.environ.get("RAY_AUTH_MODE", "")
    unset = f" (RAY_AUTH_MODE is '{mode}' here; unset it)" if not wrong and mode not in ("", "token") else ""
    return (
        f"the cluster at {address} wants {here}{unset}; copy the cluster's to ~/.ray/auth_token (mode 600): it lies "
        "there on the machine that started the cluster"
    )


def _silent(address: str, reason: str) -> str:
    return (
        f"nobody answers at {address} ({reason}); is the cluster up and its dashboard's port forwarded "
        "(ray dashboard cluster.yaml)? Give --address, or set RAY_API_SERVER_ADDRESS"
    )


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:160] if text else type(error).__name__
