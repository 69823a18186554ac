"""A study on a Ray of two nodes whose homes, and so their disks, are apart, with a bucket between them.

Run as a program: `python -m reference.two_disks FOLDER WORKERS bucket|disk [lose]`; the last line says what came of it,
as JSON. With `disk` they have a common one; with `lose` the node that leads the first group is ended after its first
epoch.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from store.small_s3 import SmallS3, small_s3

from pmd_ray.run.study import StudyOptions, prepare, run_study
from pmd_ray.run.study_events import StudyEvent
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.study_file import load_study
from pmd_ray.store.store import Store
from pmd_ray.train.workshop import Places
from reference import tiny_study

NODES = ("one", "two")
SMALL = {
    "layers: [2, 2, 1]": "layers: [2, 1]",
    "[0.2, 0.0]": "[0.2]",
    "  fixed: {mask.rate: 0.2}\n": "",
    "  direct: {grades.1.teacher: teacher}\n": "",
    "  no_teacher: {grades.*.teacher: none}\n": "",
    "seeds: [0, 1]": "seeds: [0]",
}
"""Three stages of the tiny study."""
WORK = ".cache/pmd_ray/artifacts/work/*/*"
"""A stage's checkpoints on a node's own disk."""
RANKS = ("test_ranks.parquet", "valid_ranks.parquet")


def main(folder: Path, workers: str, storage: str, lose: bool) -> None:
    """Run it and say what came of it."""
    epochs = 12 if lose else 2
    with small_s3() as server:
        small = {"object_store_memory": 100 << 20, "include_dashboard": False}
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "env_vars": home(folder, "head"), **small}
        )
        nodes = {name: cluster.add_node(num_cpus=1, env_vars=home(folder, name), **small) for name in NODES}
        ray.init(address=cluster.address, log_to_driver=False)
        where = server.uri("bucket/store") if storage == "bucket" else str(folder / "store")
        lost: list[str] = []

        def lose_leader() -> None:
            name = leader(folder)
            lost.append(name)
            cluster.remove_node(nodes[name], allow_graceful=False)

        if lose:
            threading.Thread(target=lose_leader, daemon=True).start()
        print(json.dumps({**outcome(folder, server, where, workers, epochs), "lost": lost}))
        ray.shutdown()
        cluster.shutdown()


def home(folder: Path, name: str) -> dict[str, str]:
    """What tells a node where its disk is."""
    place = folder / name
    place.mkdir(exist_ok=True)
    return {"HOME": str(place)}


def leader(folder: Path) -> str:
    """The node on whose disk the first checkpoint appears."""
    while True:
        for name in NODES:
            if list((folder / name).glob(f"{WORK}/.*/epoch-*/progress.json")):
                return name
        time.sleep(0.02)


def outcome(folder: Path, server: SmallS3, where: str, workers: str, epochs: int) -> dict[str, object]:
    """The study's ranks by stage, what was heard, and what lies in the bucket."""
    file = tiny_study.write_study(folder, epochs=epochs, **SMALL)
    options = StudyOptions(places=Places(), device="cpu", plan=WorkerPlan.parse(workers, cpus=1.0))
    store = Store.open(where, cache=folder / "driver")
    ready = prepare(load_study(str(file)), store, options, file=str(file), overrides=())
    heard: list[StudyEvent] = []
    walked = run_study(ready, folder / "run", options, listen=heard.append)
    return {
        "done": len(walked.done),
        "failed": {key: str(why) for key, why in walked.failed.items()},
        "ranks": {key: [store.open_file(key, name).hex() for name in RANKS] for key in sorted(walked.done)},
        "attempts": {key: [attempt.state.value for attempt in store.attempts(key)] for key in walked.done},
        "epochs": {key: [[a.first_epoch, a.epochs_finished] for a in store.attempts(key)] for key in walked.done},
        "left": server.names("bucket/store/work/"),
        "on_disks": sorted(place.name for name in ("head", *NODES) for place in (folder / name).glob(WORK)),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], "lose" in sys.argv[4:])
