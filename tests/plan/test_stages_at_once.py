"""How many stages a machine holds: by its cores, or by its GPUs and what share of one each stage takes."""

from __future__ import annotations

import pytest

from pmd_ray.plan import machine


@pytest.mark.parametrize(
    ("device", "cpus", "gpus_each", "held"),
    [
        ("cpu", 1, 1.0, 8),
        ("cpu", 3, 1.0, 2),
        ("cpu", 9, 1.0, 1),
        ("cuda", 1, 1.0, 2),
        ("cuda", 3, 0.5, 4),
        ("cuda", 1, 4.0, 1),
    ],
)
def test_stages_at_once(device: str, cpus: int, gpus_each: float, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine, "gpus", lambda environment: 2)
    assert machine.stages_at_once(device, cpus=cpus, gpus_each=gpus_each) == held
