"""A chain as stages in the order of training: keys, teachers' keys, and the controls beside the students."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.keys import stage_key
from pmd_ray.spec.optimiser import OptimiserConfig


@dataclass(frozen=True, kw_only=True)
class ChainStage:
    """One grade of one chain, with its identity."""

    grade: GradeConfig
    key: str
    teacher: str | None
    """Name of the grade that teaches it."""
    teacher_key: str | None
    control_of: str | None = None
    """Name of the student whose network this one trains without a teacher."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a stage key needs besides the configuration."""

    dataset: str
    """Fingerprint of the graph."""
    encoder: str
    """Fingerprint of the pretrained encoder."""
    device: str
    """`cpu` or `cuda`."""


def stages_of_chain(chain: ChainConfig, facts: Facts, *, seed: int | None = None) -> list[ChainStage]:
    """Every stage of a chain: each after its teacher, a control right after its student."""
    keys: list[str] = []
    stages: list[ChainStage] = []
    controlled = {grade.name for grade in chain.controlled()}
    for place, grade in enumerate(chain.grades):
        teacher = chain.teacher_of(place)
        teacher_key = None if teacher is None else keys[teacher]
        key = _key(chain, grade, facts, teacher_key=teacher_key, seed=seed)
        keys.append(key)
        name = None if teacher is None else chain.grades[teacher].name
        stages.append(ChainStage(grade=grade, key=key, teacher=name, teacher_key=teacher_key))
        if grade.name in controlled:
            control = chain.control_of(grade)
            key = _key(chain, control, facts, teacher_key=None, seed=seed)
            stages.append(ChainStage(grade=control, key=key, teacher=None, teacher_key=None, control_of=grade.name))
    return stages


def device_class(config: OptimiserConfig, device: str) -> str:
    """What of the machine may change a result, such as `cpu-fp32`; `device` is `cpu` or `cuda`."""
    return f"{device}-{'bf16' if uses_bf16(config, device) else 'fp32'}"


def uses_bf16(config: OptimiserConfig, device: str) -> bool:
    """Whether forward passes run in bf16."""
    return config.precision == "bf16" or (config.precision == "auto" and device == "cuda")


def meaning(chain: ChainConfig) -> list[str]:
    """Keys of a chain's stages, dataset and encoder taken by name: equal for chains that mean the same."""
    name = chain.encoder.model_dump_json() if chain.encoder.name == "scratch" else chain.encoder.name
    facts = Facts(dataset=chain.dataset.source, encoder=name, device="any")
    return [stage.key for stage in stages_of_chain(chain, facts)]


def _key(chain: ChainConfig, grade: GradeConfig, facts: Facts, *, teacher_key: str | None, seed: int | None) -> str:
    return stage_key(
        chain,
        grade,
        dataset_fingerprint=facts.dataset,
        encoder_fingerprint=facts.encoder,
        teacher_key=teacher_key,
        device=device_class(grade.optimiser, facts.device),
        seed=seed,
    )


FactsOf = Callable[[ChainConfig], Facts]
"""How a plan learns a chain's facts (the vocabulary of `scratch` follows the seed)."""
