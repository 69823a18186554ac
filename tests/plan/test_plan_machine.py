"""What a machine offers: cores, memory under a container's limit, GPUs that are not hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from pmd_ray.plan import machine


def test_there_is_a_core_and_memory() -> None:
    assert machine.cores() >= 1
    memory = machine.memory_bytes()
    assert memory is not None
    assert memory > 10**8


@pytest.mark.parametrize(("limit", "holds"), [("1000000\n", True), ("max\n", False)])
def test_a_container_has_its_limit(limit: str, holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(machine, "LIMITS", (tmp_path / "memory.max", tmp_path / "not there"))
    assert (machine.memory_bytes() == 1_000_000) == holds


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({}, 2),
        ({"CUDA_VISIBLE_DEVICES": "1"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, 2),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, 0),
    ],
)
def test_gpus_are_counted_by_their_devices(
    environment: dict[str, str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    assert machine.gpus(environment) == count
