"""One Ray for all tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pmd_ray.run.cluster import connected
from pmd_ray.run.workers import WorkerPlan


@pytest.fixture(scope="session")
def ray_running() -> Iterator[None]:
    """A local Ray of two cores, started by the first test that asks for it."""
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.1"
    with connected(WorkerPlan(2, 2, cpus=1)):
        yield
