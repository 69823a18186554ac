"""Studies over the tiny graph, and plans of them with a fixed rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from reference.tiny import write_graph

from pmd_ray.plan.identities import identify
from pmd_ray.plan.rate import Rate
from pmd_ray.plan.study_plan import StudyPlan, make_plan
from pmd_ray.spec.study import StudyConfig
from pmd_ray.spec.study_file import load_study

RATE = Rate(1e9, "at 1 GFLOP/s")
BASELINE = {
    "layers": [2, 2, 1],
    "encoder": {"name": "scratch", "scratch": {"layers": 2, "width": 32, "heads": 4, "vocabulary": 400}},
    "mask_rates": [0.2, 0.0],
    "optimiser": {"epochs": 2, "batch": 16},
}

Studied = Callable[..., StudyConfig]
Planned = Callable[..., StudyPlan]


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny graph."""
    return write_graph(tmp_path_factory.mktemp("plan") / "graph")


@pytest.fixture
def studied(graph_folder: Path, tmp_path: Path) -> Studied:
    """`studied(variants, seeds=..., baseline=..., KEY=...)`: a study read from a file."""

    def study(variants: dict[str, Any] | None = None, **parts: Any) -> StudyConfig:
        baseline = BASELINE | {"dataset": str(graph_folder)} | parts.pop("baseline", {})
        content = {"baseline": baseline, "seeds": [0, 1], **parts}
        if variants is not None:
            content["variants"] = variants
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return load_study(str(path))

    return study


@pytest.fixture
def planned() -> Planned:
    """`planned(study, slots=..., stored=...)`: its plan at a known rate."""

    def plan(study: StudyConfig, *, device: str = "cpu", slots: int = 1, **given: Any) -> StudyPlan:
        identities = identify(study, device=device)
        return make_plan(study, identities=identities, slots=slots, rate=RATE, **given)

    return plan
