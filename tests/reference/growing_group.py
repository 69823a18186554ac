"""An elastic group that begins on the one node there is, and a second node that joins while its stage trains.

Run as a program: `python -m reference.growing_group FOLDER`; the last line says what came of it, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import ray
from ray._private.state import actors
from ray.cluster_utils import Cluster

from pmd_ray.run.stage import run_stage
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.places import Places
from pmd_ray.train.chain_stages import stages_of
from pmd_ray.train.events import EpochKept, Event, GradeStarted
from pmd_ray.train.workshop import device_of, open_workshop
from reference.tiny import write_chain

PATIENCE_S = 240.0
"""Ray Train looks once a minute whether a group may grow, and starts it anew then."""


def main(folder: Path) -> None:
    """Run it, say what came of it, and leave: the stage is longer than anybody would wait."""
    small = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False)
    chain = load_chain(str(write_chain(folder)), ["layers=[1]", "mask_rates=[]", "optimiser.epochs=100000"])
    places = Places(cache=folder / "cache")
    stage = stages_of(chain, open_workshop(chain, places), folder / "run", device_of("cpu"))[0]
    heard: list[Event] = []

    def train() -> None:
        run_stage(stage, places, WorkerPlan(1, 2, cpus=1), listen=heard.append)

    threading.Thread(target=train, daemon=True).start()
    await_kept(heard, 1)
    alone = group_size()
    cluster.add_node(**small)
    joined = time.monotonic()
    await_kept(heard, 2)
    print(
        json.dumps(
            {
                "sizes": [alone, group_size()],
                "grown_after_s": round(time.monotonic() - joined),
                "lost": [started.epochs_done - kept for started, kept in starts(heard)],
            }
        ),
        flush=True,
    )
    # Not `cluster.shutdown`: it ends no node that a driver is connected to, and the thread would connect again.
    for node in cluster.list_all_nodes():
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    os._exit(0)


def await_kept(heard: list[Event], times: int) -> None:
    """Wait until the group has started so often, and kept an epoch since."""
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        begun = [place for place, event in enumerate(heard) if isinstance(event, GradeStarted)]
        if len(begun) >= times and any(isinstance(event, EpochKept) for event in heard[begun[times - 1] :]):
            return
        time.sleep(0.1)
    raise TimeoutError(f"the group has not started {times} times: {heard[-5:]}")


def group_size() -> int:
    """Workers that there are now."""
    every = actors().values()
    return sum(one["ActorClassName"] == "RayTrainWorker" and one["State"] == "ALIVE" for one in every)


def starts(heard: list[Event]) -> list[tuple[GradeStarted, int]]:
    """Each start, with the epochs that were kept before it."""
    kept, found = 0, []
    for event in heard:
        if isinstance(event, EpochKept):
            kept = event.epoch
        if isinstance(event, GradeStarted):
            found.append((event, kept))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
