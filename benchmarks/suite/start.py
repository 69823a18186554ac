"""A small stage under Ray on a worker that is warm, against the same stage trained in this process alone.

Nothing of the kind is in the released code; the limit is the stage alone. The first stage of the pool, on a worker that
must start, is told apart as `cold_wall_s`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks.clock import Phases, interleaved
from benchmarks.inputs import BUNDLED, Asked
from benchmarks.product import ALONE, CPU
from benchmarks.record import Case
from pmd_ray.run.cluster import cluster_for
from pmd_ray.run.ray_pool import RayPool
from pmd_ray.run.stage_call import StudySetting
from pmd_ray.run.stage_job import Ending, StageJob
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import Facts, stages_of_chain
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.places import Places
from pmd_ray.store.store import Store
from pmd_ray.train.chain_stages import stages_of
from pmd_ray.train.stage import train_stage
from pmd_ray.train.workshop import Workshop, open_workshop

STEPS = 4


def chain_of(asked: Asked, number: int) -> ChainConfig:
    """A stage of a toy encoder, each of another learning rate and so another key over the same graph and encoder."""
    source = BUNDLED if asked.data is None else asked.source(BUNDLED)
    own = {
        "layers": [1],
        "dataset": {"source": source},
        "encoder": {"name": "scratch", "scratch": {"layers": 2, "width": 32, "heads": 4, "vocabulary": 400}},
        "optimiser": {"epochs": 1, "steps_per_epoch": STEPS, "batch": 16, "lr": 1e-3 + 1e-6 * number},
    }
    return build_chain([{"preset": "pmd_scaled"}, own], source="benchmark")


def cases(asked: Asked) -> Iterator[Case]:
    """One case: a stage of four steps, its ranking of validation and test triples, its artifact."""
    if not asked.wants("start: a small stage"):
        return
    shop = open_workshop(chain_of(asked, 0), Places())
    folder = asked.folder()
    alone_walls: list[float] = []

    def alone(number: int) -> None:
        chain = chain_of(asked, 1000 + number)
        begun = time.perf_counter()
        train_stage(stages_of(chain, shop, folder / f"alone-{number}", CPU)[0], shop, workers=ALONE)
        alone_walls.append(time.perf_counter() - begun)

    store = Store.open(folder / "store")
    plan = WorkerPlan(cpus=1)
    setting = StudySetting(
        storage=store.location,
        study="benchmark",
        places=Places(),
        device="cpu",
        threads=1,
        plan=plan,
        command="python -m benchmarks start",
    )
    with (
        cluster_for(plan, cpus=1, gpus=0),
        RayPool(setting, cpus=1, gpus=0, slots=1, listen=lambda event: None) as pool,
    ):
        warm = Warm(pool, store, lambda number: _job(chain_of(asked, number), shop))
        cold, _ = warm.train(-1)
        alone(-1)
        alone_walls.clear()
        times = interleaved({"ours": warm, "alone": alone}, asked.repeat)
    wall, alone_wall = statistics.median(warm.walls), statistics.median(alone_walls)
    yield Case(
        name="start: a small stage",
        data=shop.graph.name,
        batch=16,
        ours_cpu_s=times["ours"].seconds,
        limit_cpu_s=times["alone"].seconds,
        more={
            "wall_s": wall,
            "alone_wall_s": alone_wall,
            "overhead_wall_s": wall - alone_wall,
            "cold_wall_s": cold,
            "repeat": asked.repeat,
        },
    )


class Warm:
    """Stages of a pool, one after the other, on its one worker."""

    def __init__(self, pool: RayPool, store: Store, job: Callable[[int], StageJob]) -> None:
        self._pool, self._store, self._job = pool, store, job
        self.walls: list[float] = []

    def __call__(self, number: int) -> Phases:
        """CPU seconds of the worker and of this process."""
        begun = time.process_time()
        wall, worker = self.train(number)
        self.walls.append(wall)
        return {"worker": worker, "driver": time.process_time() - begun}

    def train(self, number: int) -> tuple[float, float]:
        """Wall-clock seconds from asking to hearing of its end, and the worker's CPU seconds."""
        job = self._job(number)
        begun = time.perf_counter()
        self._pool.submit(job)
        while not (ended := self._pool.wait(1.0)):
            pass
        wall = time.perf_counter() - begun
        if ended[0].ending is not Ending.DONE:
            raise RuntimeError(f"the stage ended as {ended[0].ending}: {ended[0].message}")
        return wall, self._store.attempts(job.key)[-1].cpu_seconds


def _job(chain: ChainConfig, shop: Workshop) -> StageJob:
    facts = Facts(dataset=shop.graph.fingerprint, encoder=shop.source.fingerprint, device="cpu")
    return StageJob.of(stages_of_chain(chain, facts)[0], chain)
