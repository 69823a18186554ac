"""What a study's folder and the store keep of it: every run with the keys of its stages. Reports start from it."""

from __future__ import annotations

from typing import Any

from pmd_ray.spec.base import Frozen
from pmd_ray.spec.chain_stages import ChainStage
from pmd_ray.spec.study import StudyConfig

FORMAT = 1
"""Raised when fields change their meaning."""


class StageUse(Frozen):
    """A stage as one chain uses it; other chains may call the same stage by another name."""

    grade: str
    """The grade's name in this chain."""
    layers: int
    mask_rate: float
    key: str
    teacher: str | None
    """Name of the grade that teaches it, in this chain."""
    teacher_key: str | None
    control_of: str | None = None
    """The student whose network it trains without a teacher."""

    @classmethod
    def of(cls, stage: ChainStage) -> StageUse:
        """A stage as its chain writes it."""
        return cls(
            grade=stage.grade.name,
            layers=stage.grade.layers,
            mask_rate=stage.grade.mask.rate,
            key=stage.key,
            teacher=stage.teacher,
            teacher_key=stage.teacher_key,
            control_of=stage.control_of,
        )


class RunRecord(Frozen):
    """One chain with one seed."""

    variant: str
    arm: str
    """The choice of nuisance settings; empty where nothing is tuned."""
    seed: int
    stages: tuple[StageUse, ...]
    """In the order of training."""


class DatasetRecord(Frozen):
    """The graph of a study."""

    name: str
    source: str
    """As given: a name, or a folder."""
    fingerprint: str
    entities: int
    relations: int
    train: int
    """Triples of each split."""
    valid: int
    test: int


class RunHeader(Frozen):
    """How a study or a search was started, and on what."""

    file: str
    """Path of its file, absolute, or the name of a shipped one."""
    overrides: tuple[str, ...] = ()
    """What `--set` said."""
    storage: str
    device: str
    """`cpu` or `cuda`."""
    threads: int = 1
    """Of each stage on a CPU."""
    workers: str = "1"
    """Of each stage: `2`, or `2:8` where they are elastic."""
    gpus: float = 0.0
    """Of each stage of one worker."""
    slots: int | None = None
    """Stages at once; None follows the machine or cluster."""
    home: str | None = None
    """Where fetched datasets lie, where that was said."""
    dataset: DatasetRecord
    encoders: dict[str, str]
    """Fingerprint by encoder name (with sizes and seed for `scratch`)."""
    created: str
    """UTC, ISO 8601."""
    command: str

    @property
    def header(self) -> dict[str, Any]:
        """These fields by name, for another record."""
        return {name: getattr(self, name) for name in RunHeader.model_fields}


class StudyRecord(RunHeader):
    """A study as it was started."""

    format: int = FORMAT
    study: StudyConfig
    runs: tuple[RunRecord, ...]
    keys: tuple[str, ...]
    """Every stage, once: what a garbage collection must leave."""
    trials: bool = False
    """Whether its runs are trials of a search, of which only validation may be seen."""

    def aliases(self) -> dict[str, str]:
        """Variants that mean the same as an earlier one, which has their runs."""
        return {v.name: v.alias_of for v in self.study.variants if v.alias_of is not None}
