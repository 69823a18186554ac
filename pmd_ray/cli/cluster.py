"""`pmd cluster`: check a cluster file before it costs anything, and make the token that its nodes share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.group import VerbGroup
from pmd_ray.cli.options import Json
from pmd_ray.cli.output import Cell, complain, print_json, print_table, say, warn
from pmd_ray.spec.errors import SpecError, UserError

if TYPE_CHECKING:
    from pmd_ray.spec.cluster_file import ClusterCheck
    from pmd_ray.spec.cluster_prices import Cost

WRONG = 2
TOKEN = Path("~/.ray/auth_token")
DEVICES = {"cuda": True, "cpu": False}

File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="For ray up (cluster.yaml), or KubeRay manifests (deploy/kuberay/*.yaml)."),
]
Plan = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What `pmd plan STUDY --json` printed: the cluster must suit its stages."),
]


def register(app: typer.Typer) -> None:
    """Add `pmd cluster` and its verbs."""
    cluster = typer.Typer(
        cls=VerbGroup,
        help="Check cluster files, make the token of a cluster.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    cluster.command("check")(check)
    cluster.command("token")(token)
    app.add_typer(cluster, name="cluster")


def check(file: File, plan: Plan = None, json: Json = False) -> None:
    """Check a cluster file without a cloud: every error at once; exit code 2 where there is one."""
    from pmd_ray.run.launcher_rules import complaints, ray_is_there
    from pmd_ray.spec.cluster_file import check_cluster_file

    needs_gpu = None if plan is None else _needs_gpu(plan)
    made = check_cluster_file(
        file,
        needs_gpu=needs_gpu,
        ray_rules=complaints if ray_is_there() else None,
        environment=os.environ,
    )
    if json:
        print_json(made.json())
    else:
        _show(made)
    if made.errors:
        if json:
            complain(str(SpecError(file, made.errors)))
        raise typer.Exit(WRONG)


def token(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where Ray looks for it by default.")] = TOKEN,
) -> None:
    """Make the token that every node and client of a cluster presents; it is not shown."""
    from pmd_ray.spec.cluster_token import make_token

    made = make_token(out.expanduser())
    say(f"made {made} (mode 600); cluster files copy it to the nodes, RAY_AUTH_MODE=token makes Ray ask for it")


def _show(made: ClusterCheck) -> None:
    for line in made.warnings:
        warn(line)
    if made.errors:
        complain(str(SpecError(made.file, made.errors)))
        return
    if made.cost is not None:
        _show_cost(made.cost)
    noted = f", {len(made.warnings)} warning{'s' if len(made.warnings) != 1 else ''}" if made.warnings else ""
    say(f"{made.file}: no error{noted}")


def _show_cost(cost: Cost) -> None:
    from pmd_ray.spec.cluster_prices import SAID

    rows: list[list[Cell]] = [
        [name, machine, count, f"{price:.2f}", f"{count * price:.2f}"] for name, machine, count, price in cost.machines
    ]
    print_table(["node type", "machine", "at most", "$ each", "$ per hour"], rows)
    bound = "at most" if not cost.unknown else "at least (no price known for " + ", ".join(cost.unknown) + ")"
    say(f"{bound} ${cost.at_most:.2f} per hour, ${cost.spot:.2f} while spot machines are to be had: {SAID}")


def _needs_gpu(plan: Path) -> bool:
    import json as reader

    way = "give what `pmd plan STUDY --json` printed"
    try:
        device = str(reader.loads(plan.read_text(encoding="utf-8"))["device"])
    except OSError as error:
        raise UserError(f"--plan: {plan} cannot be read ({error.strerror}); {way}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"--plan: {plan} is no plan; {way}") from None
    if device not in DEVICES:
        raise UserError(f"--plan: {plan} is for device {device!r}; {way}")
    return DEVICES[device]
