"""Rows of the tables: a line is one grade of one variant over the study's seeds, known by a short id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pmd_ray.spec.keys import digest
from pmd_ray.spec.study_record import RunRecord, StageUse, StudyRecord

ID_LENGTH = 8
WhyMissing = Callable[[str], str | None]
"""Why a stage, by its key, has no figures; None where it has."""


class Role(StrEnum):
    """What a grade is in its chain."""

    TEACHER = "teacher"
    STUDENT = "student"
    ALONE = "without teacher"


class Slot(StrEnum):
    """Where a grade stands in its chain: what it is compared with stands in the same place of another chain."""

    FIRST = "first grade"
    LATER = "later grade"
    CONTROL = "control"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One grade of one variant."""

    variant: str
    arm: str
    """The choice of nuisance settings; empty where nothing is tuned."""
    grade: str
    layers: int
    mask_rate: float
    role: Role
    slot: Slot
    teacher: str | None
    """The grade that teaches it."""
    control_of: str | None
    keys: Mapping[int, str]
    """Stage key of each seed of the study, trained or not."""
    seeds: tuple[int, ...]
    """Those that count: with all stages of the variant."""

    @property
    def id(self) -> str:
        """First 8 hex digits of the digest of its stages' keys: equal stages give equal ids."""
        return line_id(self.keys.values())

    @property
    def counted_keys(self) -> tuple[str, ...]:
        """Keys of the seeds that count, in their order."""
        return tuple(self.keys[seed] for seed in self.seeds)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A stage that is not there."""

    seed: int
    grade: str
    key: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One variant with one choice of nuisance settings, over the seeds."""

    variant: str
    arm: str
    lines: tuple[Line, ...]
    """In the order of training."""
    gaps: tuple[Gap, ...]
    """Stages that are missing; their seeds do not count."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that count."""
        return self.lines[0].seeds

    @property
    def last(self) -> Line:
        """The last grade, controls left out."""
        return [line for line in self.lines if line.slot is not Slot.CONTROL][-1]

    def find(self, slot: Slot, layers: int) -> Line | None:
        """The last grade of that place and depth."""
        found = [line for line in self.lines if line.slot is slot and line.layers == layers]
        return found[-1] if found else None


def line_id(keys: Iterable[str]) -> str:
    """The id of the stages with these keys, in any order."""
    return digest(sorted(keys))[:ID_LENGTH]


def chains_of(record: StudyRecord, why_missing: WhyMissing) -> list[Chain]:
    """Every chain of a study, arms beside each other, in the file's order."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for run in record.runs:
        groups.setdefault((run.variant, run.arm), []).append(run)
    return [_chain(runs, why_missing) for runs in groups.values()]


def _chain(runs: Sequence[RunRecord], why_missing: WhyMissing) -> Chain:
    gaps = [
        Gap(seed=run.seed, grade=use.grade, key=use.key, why=why)
        for run in runs
        for use in run.stages
        if (why := why_missing(use.key)) is not None
    ]
    broken = {gap.seed for gap in gaps}
    seeds = tuple(run.seed for run in runs if run.seed not in broken)
    first = runs[0]
    lines = [_line(runs, place, seeds) for place in range(len(first.stages))]
    return Chain(variant=first.variant, arm=first.arm, lines=tuple(lines), gaps=tuple(gaps))


def _line(runs: Sequence[RunRecord], place: int, seeds: tuple[int, ...]) -> Line:
    stages = runs[0].stages
    use = stages[place]
    return Line(
        variant=runs[0].variant,
        arm=runs[0].arm,
        grade=use.grade,
        layers=use.layers,
        mask_rate=use.mask_rate,
        role=_role(use, stages),
        slot=Slot.CONTROL if use.control_of else Slot.LATER if place else Slot.FIRST,
        teacher=use.teacher,
        control_of=use.control_of,
        keys={run.seed: run.stages[place].key for run in runs},
        seeds=seeds,
    )


def _role(use: StageUse, stages: Sequence[StageUse]) -> Role:
    """A grade without a teacher teaches, or opens the chain; else it is what distillation must beat."""
    if use.teacher is not None:
        return Role.STUDENT
    teaches = any(other.teacher == use.grade for other in stages)
    return Role.TEACHER if teaches or use is stages[0] else Role.ALONE
