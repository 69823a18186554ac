"""`pmd submit`: run an ablation, a search or a chain as a job of a cluster, and follow it to its true result."""

from __future__ import annotations

from typing import Annotated

import typer

from pmd_ray.cli.ablate import Cpus, Device, Gpus, Slots, Workers
from pmd_ray.cli.distill import Overrides
from pmd_ray.cli.following import Address
from pmd_ray.cli.group import VerbGroup
from pmd_ray.cli.options import Home, Json
from pmd_ray.cli.order import Order, submit
from pmd_ray.cli.search import AtOnce

Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="PMD_STORAGE",
        metavar="PLACE",
        help="Where stages are kept, one place for all nodes: s3://BUCKET/PATH, or a folder that all of them mount "
        "(default: PMD_STORAGE of the cluster).",
    ),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="Folder of the run on the cluster (default: ~/pmd_ray/runs/NAME)."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Submit and return; do not follow the log.")]
Wait = Annotated[
    float, typer.Option("--wait-workers", metavar="SECONDS", min=0, help="Wait so long for room for one stage.")
]
File = Annotated[str, typer.Argument(metavar="FILE", help="A file of this machine, or a shipped one's name.")]


def register(app: typer.Typer) -> None:
    """Add `pmd submit` and its verbs."""
    verbs = typer.Typer(
        cls=VerbGroup,
        help="Run an ablation, a search or a chain as a job of a Ray cluster.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    verbs.command("ablate")(ablate)
    verbs.command("search")(search)
    verbs.command("distill")(distill)
    app.add_typer(verbs, name="submit")


def ablate(
    file: File,
    overrides: Overrides = None,
    storage: Storage = None,
    out: Out = None,
    device: Device = "auto",
    cpus: Cpus = 1,
    gpus: Gpus = None,
    slots: Slots = None,
    workers: Workers = "1",
    home: Home = None,
    address: Address = None,
    wait: Wait = 300,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Run `pmd ablate` on a cluster; the exit code is the job's."""
    submit(
        Order(
            verb="ablate",
            file=file,
            overrides=overrides or [],
            storage=storage,
            out=out,
            home=home,
            address=address,
            device=device,
            cpus=cpus,
            gpus=gpus,
            workers=workers,
            further=_given(slots=slots),
            wait=wait,
            detach=detach,
            json=json,
        )
    )


def search(
    file: File,
    overrides: Overrides = None,
    storage: Storage = None,
    out: Out = None,
    device: Device = "auto",
    cpus: Cpus = 1,
    gpus: Gpus = None,
    slots: Slots = None,
    workers: Workers = "1",
    at_once: AtOnce = None,
    home: Home = None,
    address: Address = None,
    wait: Wait = 300,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Run `pmd search` on a cluster; the exit code is the job's."""
    submit(
        Order(
            verb="search",
            file=file,
            overrides=overrides or [],
            storage=storage,
            out=out,
            home=home,
            address=address,
            device=device,
            cpus=cpus,
            gpus=gpus,
            workers=workers,
            further=_given(slots=slots, at_once=at_once),
            wait=wait,
            detach=detach,
            json=json,
        )
    )


def distill(
    file: File,
    overrides: Overrides = None,
    storage: Storage = None,
    out: Out = None,
    workers: Workers = "1",
    gpu: Annotated[bool, typer.Option("--gpu", help="Give each worker a GPU.")] = False,
    home: Home = None,
    address: Address = None,
    wait: Wait = 300,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Run `pmd distill` on a cluster; the exit code is the job's. Its folder stays there (--out)."""
    from pmd_ray.spec.errors import UserError

    if out is None:
        raise UserError(
            "--out: a chain is trained wherever there is room, and that machine may go with its disk; give a folder "
            "that all nodes mount with --out DIR, or submit a study (pmd submit ablate): its stages lie in the storage"
        )
    submit(
        Order(
            verb="distill",
            file=file,
            overrides=overrides or [],
            storage=storage,
            out=out,
            home=home,
            address=address,
            device="cuda" if gpu else "cpu",
            workers=workers,
            wait=wait,
            detach=detach,
            json=json,
        )
    )


def _given(**options: int | None) -> list[str]:
    pairs = ((f"--{name.replace('_', '-')}", value) for name, value in options.items() if value is not None)
    return [word for name, value in pairs for word in (name, str(value))]
