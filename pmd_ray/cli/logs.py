"""`pmd logs`: what a job of a cluster printed; with `--follow` until it ends."""

from __future__ import annotations

from typing import Annotated

import typer

from pmd_ray.cli.following import Address, JobArgument, follow_job, say_ended, server_at
from pmd_ray.cli.output import visible


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("logs")(logs)


def logs(
    job: JobArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends; the exit code is then the job's.")
    ] = False,
    address: Address = None,
) -> None:
    """Print what a submitted job printed."""
    from pmd_ray.run.jobs import find_job

    server = server_at(address)
    found = find_job(server, job)
    if not follow:
        print(visible(server.log(found.id)), end="")
        return
    raise typer.Exit(say_ended(follow_job(server, found.id), json=True))
