"""What this cluster cannot do is one clear error before anything is trained, whoever submits it."""

from __future__ import annotations

import pytest

from cluster.hosts import HOME
from cluster.readme import STORAGE, TOY
from cluster.twin import DASHBOARD, Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
REFUSED = [*TOY, "--set", "dataset.source=cldr", "--set", "name=refused"]
"""A graph that every node has, and a name that no other test gives."""


def refused(cluster: Cluster, *words: str) -> str:
    """What `pmd submit` says of a study that cannot be run, with the job's own words."""
    submitted = ["submit", "ablate", "quickstart", *REFUSED, "--address", DASHBOARD, *words]
    done = cluster.pmd(*submitted, check=False, timeout=300)
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_gpus_that_no_machine_has(cluster: Cluster) -> None:
    said = refused(cluster, "--device", "cuda", "--storage", STORAGE)
    assert "no GPU in the cluster" in said and "submitted" not in said


def test_gpus_that_no_machine_has_by_rays_own_command(cluster: Cluster) -> None:
    line = ["pmd", "ablate", "quickstart", *REFUSED, "--device", "cuda"]
    done = cluster.ray("job", "submit", "--address", DASHBOARD, "--", *line, check=False, timeout=300)
    assert done.returncode == 1
    assert "a stage wants 1 GPU, Ray sees 0" in done.stdout + done.stderr


def test_a_storage_that_the_workers_do_not_see(cluster: Cluster) -> None:
    said = refused(cluster, "--device", "cpu", "--storage", f"{HOME}/own")
    assert "is not one place for all nodes: h1 (not there), h2 (not there); mount it there" in said
