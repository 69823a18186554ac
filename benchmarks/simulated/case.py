"""One simulated study from plan to end: what it took beside what it could have taken at the least."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from statistics import fmean
from time import process_time

from benchmarks.simulated.cluster import Cluster, Trouble
from benchmarks.simulated.figures import Figures
from benchmarks.simulated.metered import Meter, MeteredPool, MeteredStore
from benchmarks.simulated.shared_store import Clock, SharedStore
from benchmarks.simulated.study import SEEDS, simulated_tree
from pmd_ray.plan.tree import StageTree
from pmd_ray.run.walk import Walk

HELPERS_GB = (0.5, 0.8)
"""Memory of a worker group's helper processes on the node of its launcher (Ray Train 2.5x to 2.6x)."""
GPUS_A_NODE = 8


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One case."""

    gpus: int
    stages: int
    trouble: Trouble
    workers: int = 1
    """GPUs of each stage."""
    epochs: int = 10
    """Of each stage."""
    seeds: int = SEEDS
    """Of the study."""
    seed: int = 0
    """Of what happens."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of it. Seconds of makespan and bound are virtual, of CPU real."""

    gpus: int
    stages: int
    """Distinct, as planned."""
    preemptions: float
    workers: int
    epochs: int
    trained: int
    elsewhere: int
    """Another run trained them."""
    failed: int
    """With the stages below them."""
    makespan_s: float
    bound_s: float
    """The longer of the longest chain and all work over all GPUs; start-up is work."""
    utilisation: float
    """Share of the GPUs' time in which a stage was on them."""
    plan_cpu_s: float
    walk_cpu_s: float
    """Of the walk, without what is simulated."""
    ray_cpu_s: float
    """Of Ray's client in the driver, estimated from what each of its calls takes."""
    running: float
    """Stages at once, mean."""
    peak_mb: float
    """Resident, of this process with everything simulated in it."""
    attempts: int
    preempted: int
    lost_epochs: tuple[float, float]
    """Of an attempt that was preempted or failed: mean and largest; 0 where there was none."""
    lost_share: float
    """Of the GPUs' busy time: start-up and training that was done again."""
    helpers_gb: tuple[float, float]
    """Of worker groups: all of them (on the submitting node, were they not spread), and of one node when spread."""

    @property
    def over(self) -> float:
        """How much longer than the bound, as a share of it; infinite where no stage came to its end."""
        return self.makespan_s / self.bound_s - 1.0 if self.bound_s else math.inf

    @property
    def cores_per_100(self) -> float:
        """Cores that the walk and Ray's client take for 100 running stages."""
        return (self.walk_cpu_s + self.ray_cpu_s) / self.makespan_s / (self.running / 100)

    @property
    def cpu_ms_per_stage(self) -> float:
        """Of the walk."""
        return 1000 * self.walk_cpu_s / self.stages


def run_case(asked: Asked, figures: Figures) -> Found:
    """Plan, walk and measure; call it in a process of its own, or the memory is that of the largest case so far."""
    begun = process_time()
    tree = simulated_tree(figures.chain, stages=asked.stages, seeds=asked.seeds)
    expected = {
        key: figures.expected(stage.grade.layers, taught=stage.teacher_key is not None)
        for key, stage in tree.stages.items()
    }
    planned = process_time() - begun
    clock, draw, meter = Clock(), Random(asked.seed), Meter()
    store = SharedStore(clock, share=asked.trouble.elsewhere, expected=expected, draw=draw)
    cluster = Cluster(
        figures,
        asked.trouble,
        expected=expected,
        gpus=asked.gpus,
        workers=asked.workers,
        epochs=asked.epochs,
        store=store,
        clock=clock,
        draw=draw,
    )
    pool, begun = MeteredPool(cluster, meter), process_time()
    walk = Walk(tree, MeteredStore(store, meter), pool, stored=set(), cost=expected, clock=lambda: clock.now)
    walked = walk.run()
    driver, tally = process_time() - begun - meter.seconds, cluster.tally
    slots = max(1, asked.gpus // asked.workers)
    running = tally.busy_s / asked.workers / clock.now
    nodes = max(1, asked.gpus // GPUS_A_NODE)
    groups = tally.most if asked.workers > 1 else 0
    return Found(
        gpus=asked.gpus,
        stages=tree.distinct,
        preemptions=asked.trouble.preemptions,
        workers=asked.workers,
        epochs=asked.epochs,
        trained=len(walked.trained),
        elsewhere=len(walked.done) - len(walked.trained),
        failed=len(walked.failed) + len(walked.skipped),
        makespan_s=clock.now,
        bound_s=lower_bound(tree, tally.spent, slots),
        utilisation=tally.busy_s / (asked.gpus * clock.now),
        plan_cpu_s=planned,
        walk_cpu_s=driver,
        ray_cpu_s=pool.ray_cpu_s(lasted_s=clock.now, running=running),
        running=running,
        peak_mb=peak_mb(),
        attempts=pool.submitted,
        preempted=tally.preempted,
        lost_epochs=(fmean(tally.lost_epochs), max(tally.lost_epochs)) if tally.lost_epochs else (0.0, 0.0),
        lost_share=tally.lost_s / tally.busy_s,
        helpers_gb=(groups * fmean(HELPERS_GB), -(-groups // nodes) * max(HELPERS_GB)),
    )


def lower_bound(tree: StageTree, spent: Mapping[str, float], slots: int) -> float:
    """Seconds that no schedule can beat: the longest chain, or all work over all places, whichever is longer."""
    seconds = {key: spent.get(key, 0.0) for key in tree.stages}
    return max(max(tree.longest_from(seconds).values()), sum(seconds.values()) / slots)


def peak_mb() -> float:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
