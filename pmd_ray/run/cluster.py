"""Connects to Ray where a plan needs it, and leaves what it found as it was."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.errors import UserError

OBJECT_STORE_BYTES = 150 * 2**20
"""Of a Ray that we start: stages pass paths, not tensors."""


@contextmanager
def connected(plan: WorkerPlan) -> Iterator[None]:
    """A Ray that can run the plan: the one at RAY_ADDRESS, one that is connected, or a small local one.

    Raises:
        UserError: it has too few cores or GPUs for the plan, which would wait for ever.
    """
    if plan.local:
        yield
        return
    import ray

    started = not ray.is_initialized()
    if started:
        if os.environ.get("RAY_ADDRESS"):
            ray.init(address=os.environ["RAY_ADDRESS"], logging_level=logging.WARNING)
        else:
            ray.init(
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                logging_level=logging.WARNING,
            )
    try:
        _check_size(plan)
        yield
    finally:
        if started:
            ray.shutdown()


def _check_size(plan: WorkerPlan) -> None:
    import ray

    there = ray.cluster_resources()
    needed = {name: amount * plan.least for name, amount in plan.resources().items()}
    short = [f"{amount:g} {name}" for name, amount in needed.items() if there.get(name, 0) < amount]
    # A cluster that grows on demand starts small: there, Ray waits for it.
    if short and not os.environ.get("RAY_ADDRESS"):
        raise UserError(
            f"{plan.least} workers need {' and '.join(short)}; this machine has {there.get('CPU', 0):g} CPU"
        )
