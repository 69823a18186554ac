"""Whether every node of a cluster sees the storage, a folder or a bucket: asked before anything is trained there."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import PmdError, UserError
from pmd_ray.store.store import Store

ANSWER_S = 60.0
"""Given to a node to look: it may have to start a process."""
LATE_S = 5.0


def probe_storage(store: Store) -> None:
    """Let each node see the store: a folder as `probe_folder` does, a bucket with the credentials that the node has.

    Raises:
        UserError: naming the nodes that do not see it, or may not write there.
        StorageError: this process cannot.
    """
    if store.local is not None:
        probe_folder(store.local, otherwise="give a --storage that all see, such as s3://BUCKET/PATH")
        return
    if not os.environ.get("RAY_ADDRESS"):
        return
    name, answer = _named()
    store.medium.write(name, answer.encode())
    try:
        wrong = _asked(looked_into_bucket, store.location, name, answer)
    finally:
        store.medium.remove(name)
    if wrong:
        raise UserError(
            f"{store.medium.shown} does not serve all nodes: {', '.join(wrong)}; give each node what lets it read, "
            "write and delete there (an instance profile, a service account), or another --storage"
        )


def probe_folder(folder: Path, *, otherwise: str) -> None:
    """Let each node that is alive read what we write into a folder, and write beside it.

    Nothing is done where no cluster is named by RAY_ADDRESS: there is one machine then.

    Args:
        otherwise: What to do where it cannot be mounted.

    Raises:
        UserError: naming the nodes that do not see it.
        StorageError: this process cannot write there.
    """
    if not os.environ.get("RAY_ADDRESS"):
        return
    with _question(folder) as (name, answer):
        wrong = _asked(looked, str(folder), name, answer)
    if wrong:
        raise UserError(f"{folder} is not one place for all nodes: {', '.join(wrong)}; mount it there, or {otherwise}")


def _asked(look: Callable[[str, str, str], str], place: str, name: str, answer: str) -> list[str]:
    """Let each node that is alive look; those with a problem, each as `HOST (PROBLEM)`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    task = ray.remote(num_cpus=0, max_retries=0)(look)
    asked = {}
    for node, host in nodes.items():
        there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        asked[task.options(scheduling_strategy=there).remote(place, name, answer)] = host
    ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    wrong = [f"{asked[one]} ({problem})" for one in ready if (problem := _outcome(one))]
    wrong += [f"{asked[one]} (no answer within {ANSWER_S:.0f} s)" for one in silent]
    for one in silent:
        ray.cancel(one, force=True)
    return sorted(wrong)


def looked(root: str, name: str, answer: str) -> str:
    """On a node: what is wrong with the storage there; empty where nothing is."""
    place = Path(root) / name
    try:
        _await_file(place)
        if place.read_text(encoding="utf-8") != answer:
            return "another folder lies there"
        mine = place.with_name(f"{name}-{socket.gethostname()}-{os.getpid()}")
        mine.write_text(answer, encoding="utf-8")
        mine.unlink()
    except FileNotFoundError:
        return "not there"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def looked_into_bucket(location: str, name: str, answer: str) -> str:
    """On a node: what keeps it from reading, writing or deleting in a bucket; empty where nothing does."""
    try:
        medium = Store.open(location, create=False).medium
        found = medium.read(name)
        if found is None:
            return "not there"
        if found != answer.encode():
            return "another bucket lies there"
        mine = f"{name}-{socket.gethostname()}-{os.getpid()}"
        medium.write(mine, found)
        medium.remove(mine)
    except PmdError as error:
        return str(error)
    return ""


def _await_file(place: Path) -> None:
    """A network mount may show a new file late."""
    until = time.monotonic() + LATE_S
    while place.parent.is_dir() and not place.exists() and time.monotonic() < until:
        time.sleep(0.2)


def _named() -> tuple[str, str]:
    """A file's name and what stands in it."""
    return f".probe-{token_hex(4)}", token_hex(8)


@contextlib.contextmanager
def _question(folder: Path) -> Iterator[tuple[str, str]]:
    name, answer = _named()
    place = folder / name
    with storing(place):
        place.write_text(answer, encoding="utf-8")
    try:
        yield name, answer
    finally:
        with storing(place):
            place.unlink(missing_ok=True)


def _outcome(reference: object) -> str:
    """What a node said; a node that went meanwhile is no problem of the storage."""
    import ray

    try:
        return str(ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        return type(error.cause).__name__
    except ray.exceptions.RayError:
        return ""
