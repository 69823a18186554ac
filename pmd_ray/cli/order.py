"""What is submitted to a cluster: checked, given room, sent with its graph, followed to its true result."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pmd_ray.cli.following import follow_job, say_ended, server_at, ways_back
from pmd_ray.cli.options import gpus_of_stage
from pmd_ray.cli.output import print_json, say, warn

if TYPE_CHECKING:
    from pmd_ray.plan.identities import Device
    from pmd_ray.run.cluster_fit import Wanted
    from pmd_ray.run.job_folder import Packed, Verb
    from pmd_ray.run.job_server import JobServer

STOP_WAIT_S = 30
"""Given to a stopped job to end at a whole place; Ray's own 3 s are too few for its workers."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be run where."""

    verb: Verb
    file: str
    overrides: Sequence[str]
    storage: str | None
    out: str | None
    home: Path | None
    address: str | None
    device: str = "auto"
    cpus: int = 1
    gpus: float | None = None
    workers: str = "1"
    further: Sequence[str] = field(default=())
    """Options that are only handed on."""
    wait: float
    detach: bool
    json: bool


def submit(order: Order) -> None:
    """Check, wait for room, submit, follow; leaves with the job's exit code.

    Raises:
        UserError: the file, the storage, the graph or the cluster will not do; nothing was submitted.
    """
    from pmd_ray.run.cluster_fit import check_versions
    from pmd_ray.run.job_folder import entrypoint, job_id, pack

    _check_storage(order.storage)
    _check_out(order.out)
    with tempfile.TemporaryDirectory(prefix="pmd-job-") as place:
        folder = Path(place)
        packed = pack(order.verb, order.file, order.overrides, folder)
        server = server_at(order.address)
        check_versions(server)
        wanted, options = _stage_of(order, server)
        _await(server, wanted, order)
        packed = _with_graph(packed, order, folder)
        id = job_id(packed)
        server.submit(
            entrypoint(packed, out=order.out, options=options, storage=order.storage),
            id=id,
            runtime_env={"working_dir": str(folder), "env_vars": _environment(order)},
            metadata=_metadata(order, packed),
            resources=_of_driver(order, wanted),
        )
    say(f"submitted {id} to {server.address}", json=True)
    if order.detach:
        say(ways_back(id, server.address), json=True)
        if order.json:
            print_json({"job": id, "address": server.address, "name": packed.name})
        return
    ended = follow_job(server, id, json=order.json)
    code = say_ended(ended, json=True)
    if order.json:
        print_json({"job": id, "address": server.address, "name": packed.name, "state": ended.state, "exit_code": code})
    if code == 0 and order.storage and order.verb != "distill":
        say(f"its report here: pmd fetch {packed.name} --storage {order.storage}", json=True)
    raise typer.Exit(code)


def _check_storage(storage: str | None) -> None:
    """What cannot be one place for all nodes, or must not stand in a job's record."""
    from pmd_ray.spec.errors import UserError
    from pmd_ray.store.location import without_secrets

    if storage is None:
        return
    if without_secrets(storage) != storage:
        raise UserError(
            f"--storage {without_secrets(storage)}: the address holds a secret, which the job's record would show to "
            "all; give the nodes an instance profile, or credentials of their own"
        )
    if "://" not in storage and not Path(storage).is_absolute():
        raise UserError(
            f"--storage {storage}: the nodes know nothing of the folder that you are in; give an absolute path that "
            "all of them mount, or s3://BUCKET/PATH"
        )


def _check_out(out: str | None) -> None:
    """A place that means the same wherever the job's command runs."""
    from pmd_ray.spec.errors import UserError

    if out is not None and not Path(out).is_absolute():
        raise UserError(
            f"--out {out}: the job starts in a folder of its own, which Ray removes; give an absolute path, or leave "
            "it out (the head's ~/pmd_ray/runs)"
        )


def _stage_of(order: Order, server: JobServer) -> tuple[Wanted, list[str]]:
    """What one stage wants, and the options that say so to the job."""
    from pmd_ray.plan.identities import device_named
    from pmd_ray.run.cluster_fit import Wanted
    from pmd_ray.run.workers import WorkerPlan
    from pmd_ray.spec.errors import UserError

    device: Device
    if order.device == "auto":
        nodes = server.nodes()
        device = "cuda" if any(node.resources.get("GPU") for node in nodes) else "cpu"
        if device == "cpu" and all(node.head for node in nodes) and server.grows():
            raise UserError(
                "--device auto: there are no workers yet, and the cluster grows on demand, so that nothing tells "
                "whether they will have GPUs; say --device cuda or --device cpu"
            )
        say(f"--device auto: stages are trained on {'GPUs' if device == 'cuda' else 'CPUs'}", json=True)
    else:
        device = device_named(order.device)
    gpus = gpus_of_stage(order.gpus, device, told=order.device)
    plan = WorkerPlan.parse(order.workers, gpu=device == "cuda", cpus=order.cpus)
    wanted = Wanted.of(plan, cpus=order.cpus, gpus=gpus)
    if order.verb == "distill":
        plan.refuse_labels()
        return wanted, ["--workers", order.workers, *(["--gpu"] if gpus else [])]
    options = ["--device", device, "--cpus", str(order.cpus), "--workers", order.workers, *order.further]
    return wanted, options + (["--gpus", f"{gpus:g}"] if gpus and plan.local else [])


def _await(server: JobServer, wanted: Wanted, order: Order) -> None:
    from pmd_ray.run.cluster_fit import await_workers

    there = await_workers(server, wanted, seconds=order.wait, say=lambda text: say(text, json=True))
    if not there and order.verb != "distill" and "--slots" not in order.further:
        warn("a cluster grows by what is asked of it at once: give --slots N for N stages at once")


def _with_graph(packed: Packed, order: Order, folder: Path) -> Packed:
    """Publish a graph that only this machine has, and name it by its fingerprint."""
    from pmd_ray.run.graphs import is_everywhere, published
    from pmd_ray.run.job_folder import check_packed

    if not is_everywhere(packed.source):
        source = published(packed.source, order.storage, home=order.home)
        say(f"graph {packed.source}: {source} in {order.storage}", json=True)
        packed = packed.reading(source)
    for name in check_packed(packed, folder):
        warn(f"the encoder '{name}' is a folder of this machine; it must lie at the same place on every node")
    return packed


def _environment(order: Order) -> dict[str, str]:
    environment = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
    return environment | ({"PMD_STORAGE": order.storage} if order.storage else {})


def _metadata(order: Order, packed: Packed) -> dict[str, str]:
    """By which `pmd status` and `pmd logs` find the job again."""
    return {"verb": order.verb, "name": packed.name, "run": packed.run, "storage": order.storage or ""}


def _of_driver(order: Order, wanted: Wanted) -> dict[str, float]:
    """A chain that its command trains itself runs where there is room; all other commands only lead, on the head."""
    from pmd_ray.run.workers import WorkerPlan

    if order.verb != "distill" or not WorkerPlan.parse(order.workers).local:
        return {}
    return {"CPU": wanted.cpus, "GPU": wanted.gpus} if wanted.gpus else {"CPU": wanted.cpus}
