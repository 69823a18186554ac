"""A chain as stages in the order of training: keys, teachers, folders, and the controls beside the students."""

from __future__ import annotations

from pathlib import Path

import torch

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.keys import stage_key
from pmd_ray.train.precision import device_class
from pmd_ray.train.stage import Stage
from pmd_ray.train.workshop import Workshop

CURVES = "tensorboard"
"""The folder of event files inside a run's folder."""


def stages_of(chain: ChainConfig, shop: Workshop, out: Path, device: torch.device) -> list[Stage]:
    """Every stage of a chain: each after its teacher, a control right after its student."""
    keys: list[str] = []
    stages: list[Stage] = []
    controlled = {grade.name for grade in chain.controlled()}
    for place, grade in enumerate(chain.grades):
        teacher = chain.teacher_of(place)
        key = _key(chain, grade, shop, device, teacher_key=None if teacher is None else keys[teacher])
        keys.append(key)
        stages.append(
            Stage(
                chain=chain,
                grade=grade,
                key=key,
                out=out / grade.name,
                teacher=None if teacher is None else out / chain.grades[teacher].name / "model",
                teacher_name=None if teacher is None else chain.grades[teacher].name,
                curves=out / CURVES / grade.name,
            )
        )
        if grade.name in controlled:
            control = chain.control_of(grade)
            stages.append(
                Stage(
                    chain=chain,
                    grade=control,
                    key=_key(chain, control, shop, device, teacher_key=None),
                    out=out / control.name,
                    teacher=None,
                    curves=out / CURVES / control.name,
                    control_of=grade.name,
                )
            )
    return stages


def _key(
    chain: ChainConfig, grade: GradeConfig, shop: Workshop, device: torch.device, *, teacher_key: str | None
) -> str:
    return stage_key(
        chain,
        grade,
        dataset_fingerprint=shop.graph.fingerprint,
        encoder_fingerprint=shop.source.fingerprint,
        teacher_key=teacher_key,
        device=device_class(grade.optimiser, device),
    )
