"""A cluster's jobs on this terminal: where the cluster is, a job followed to its end, how it ended."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.output import say, visible
from pmd_ray.cli.stopping import stoppable

if TYPE_CHECKING:
    from pmd_ray.run.job_server import Job, JobServer

HERE = "http://127.0.0.1:8265"
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="URL",
        help="The cluster's dashboard (default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS where it is http, "
        "http://127.0.0.1:8265).",
    ),
]
JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, or a study's name: the newest job of that name.")
]


def address_of(given: str | None) -> str:
    """The address of a cluster's job server, with its scheme."""
    ray = os.environ.get("RAY_ADDRESS", "")
    address = given or os.environ.get("RAY_API_SERVER_ADDRESS") or (ray if ray.startswith("http") else "") or HERE
    return (address if "://" in address else f"http://{address}").rstrip("/")


def server_at(address: str | None) -> JobServer:
    """The job server of a cluster, which answers and lets us in.

    Raises:
        UserError: it does not, or it is something else.
    """
    from pmd_ray.run.ray_jobs import connect
    from pmd_ray.spec.errors import UserError

    found = address_of(address)
    if not found.startswith(("http://", "https://")):
        raise UserError(
            f"--address {found}: jobs are sent to a cluster's dashboard; give its address, as in {HERE} (forward its "
            "port with: ray dashboard cluster.yaml)"
        )
    return connect(found)


def follow_job(server: JobServer, id: str, *, json: bool = False) -> Job:
    """Print a job's log until it is over; to standard error with `json`. Ctrl-C ends the following, not the job."""
    from pmd_ray.run.jobs import follow

    stream = sys.stderr if json else sys.stdout

    def write(text: str) -> None:
        print(visible(text), end="", file=stream, flush=True)

    with stoppable(f"no longer followed, the job goes on; {ways_back(id, server.address)}"):
        return follow(server, id, write)


def say_ended(job: Job, *, json: bool = False) -> int:
    """Say how a job ended; its exit code."""
    from pmd_ray.run.jobs import result_of, result_text

    say(result_text(job), json=json)
    return result_of(job)


def ways_back(id: str, address: str) -> str:
    """How to look at a job again."""
    where = "" if address == HERE else f" --address {address}"
    return f"pmd logs {id} --follow{where}; pmd status {id} --address {address}; ray job stop {id} --address {address}"
