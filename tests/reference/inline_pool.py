"""A pool that trains stages one after another in this process: a study without Ray."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from unittest.mock import patch

from pmd_ray.plan.identities import identify
from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.run.stage_call import StudySetting, train_job
from pmd_ray.run.walk import StageJob, StageOutcome, Walk, Walked
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.places import Places
from pmd_ray.spec.study import StudyConfig
from pmd_ray.store.store import Store
from pmd_ray.train.costs import REPEATS
from pmd_ray.train.events import silent


class InlinePool:
    """One slot; `wait` does the work."""

    def __init__(self, setting: StudySetting) -> None:
        self._setting = setting
        self._jobs: deque[StageJob] = deque()

    def slots(self) -> int:
        return 1

    def submit(self, job: StageJob) -> None:
        self._jobs.append(job)

    def wait(self, seconds: float) -> list[StageOutcome]:
        return [train_job(self._jobs.popleft(), self._setting, silent)] if self._jobs else []

    def cancel(self) -> None:
        self._jobs.clear()


def run_inline(study: StudyConfig, store: Store, cache: Path) -> tuple[Walked, StageTree]:
    """Train what the store lacks of a study."""
    tree = build_tree(study.runs(), identify(study, device="cpu").facts_of)
    setting = StudySetting(
        storage=store.location,
        study=study.name,
        places=Places(cache=cache),
        device="cpu",
        threads=1,
        plan=WorkerPlan(),
        command=f"pmd ablate {study.name}",
    )
    cost = {key: float(stage.grade.layers) for key, stage in tree.stages.items()}
    with patch.dict(REPEATS, dict.fromkeys(REPEATS, 1)):  # nobody reads how long a toy takes
        walked = Walk(tree, store, InlinePool(setting), stored=store.stored(tree.stages), cost=cost).run()
    return walked, tree
