"""A chain's stages with their folders in a run: what `pmd distill` trains one after another."""

from __future__ import annotations

from pathlib import Path

import torch

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import Facts, stages_of_chain
from pmd_ray.train.stage import Stage
from pmd_ray.train.workshop import Workshop

CURVES = "tensorboard"
"""The folder of event files inside a run's folder."""


def stages_of(chain: ChainConfig, shop: Workshop, out: Path, device: torch.device) -> list[Stage]:
    """Every stage of a chain: each after its teacher, a control right after its student."""
    facts = Facts(dataset=shop.graph.fingerprint, encoder=shop.source.fingerprint, device=device.type)
    return [
        Stage(
            chain=chain,
            grade=stage.grade,
            key=stage.key,
            out=out / stage.grade.name,
            teacher=None if stage.teacher is None else out / stage.teacher / "model",
            teacher_name=stage.teacher,
            curves=out / CURVES / stage.grade.name,
            control_of=stage.control_of,
        )
        for stage in stages_of_chain(chain, facts)
    ]
