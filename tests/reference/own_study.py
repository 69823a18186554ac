"""A small ablation file, and what loading changed versions of it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.study import StudyConfig
from pmd_ray.spec.study_file import load_study

PLAIN: dict[str, Any] = {
    "baseline": {"layers": [4, 4, 2], "dataset": "cldr"},
    "variants": {"no_mgfd": {"mask.rate": 0.0}, "no_score": {"loss.alpha": 0.0}},
    "seeds": [0, 1],
}


def written(folder: Path, given: Any, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(given if isinstance(given, str) else yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return str(path)


def loaded(folder: Path, *overrides: str, **changes: Any) -> StudyConfig:
    return load_study(written(folder, {**PLAIN, **changes}), overrides)


def complaints(folder: Path, *overrides: str, **changes: Any) -> list[str]:
    """All errors of a file that differs from the plain one; None leaves a key out."""
    content = {key: value for key, value in {**PLAIN, **changes}.items() if value is not None}
    with pytest.raises(SpecError) as caught:
        load_study(written(folder, content), overrides)
    assert all("\n" not in error for error in caught.value.errors)
    return caught.value.errors


def chains_of(study: StudyConfig) -> dict[str, ChainConfig]:
    return {variant.name: variant.arms[0].chain for variant in study.variants}


def shape(chain: ChainConfig) -> str:
    """Layers and masks of a chain as the paper writes them."""
    students = chain.grades[1:]
    masks = "-".join(f"{100 * grade.mask.rate:g}" for grade in students)
    return f"{'-'.join(str(grade.layers) for grade in students)} {masks}"
