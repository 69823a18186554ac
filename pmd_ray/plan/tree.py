"""Stage tree: merges training stages that are equal in every input, so each runs once (after Hippo, 2006.11972)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import FactsOf, stages_of_chain
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.study import StudyRun
from pmd_ray.spec.study_record import RunRecord, StageUse


@dataclass(frozen=True, kw_only=True)
class Use:
    """Who asks for a stage."""

    variant: str
    arm: str
    seed: int
    grade: str
    """What that chain calls it."""


@dataclass(kw_only=True)
class PlannedStage:
    """A stage to train, once, whoever asks for it."""

    key: str
    chain: ChainConfig
    """Of the first run that asks for it, with the seed."""
    grade: GradeConfig
    """As that run writes it."""
    teacher_key: str | None
    teacher: str | None
    """The teacher's name in that run."""
    control_of: str | None
    uses: list[Use] = field(default_factory=list)
    children: list[str] = field(default_factory=list)

    @property
    def seed(self) -> int:
        """The seed of its run."""
        return self.chain.seed


@dataclass(frozen=True)
class StageTree:
    """A forest: stages without a teacher are its roots."""

    stages: dict[str, PlannedStage]
    """By key, each after its teacher."""
    runs: tuple[RunRecord, ...]
    naive: int
    """Stages, had each run trained its own."""

    @property
    def distinct(self) -> int:
        """Stages that are trained."""
        return len(self.stages)

    def roots(self) -> list[PlannedStage]:
        """Stages without a teacher."""
        return [stage for stage in self.stages.values() if stage.teacher_key is None]

    def below(self, key: str) -> list[str]:
        """Every stage that cannot be trained without this one, itself left out."""
        found: list[str] = []
        reached = self.stages[key].children[::-1]
        while reached:
            found.append(reached.pop())
            reached += self.stages[found[-1]].children[::-1]
        return found

    def longest_from(self, cost: Mapping[str, float]) -> dict[str, float]:
        """For each stage, the cost of the longest chain that starts with it: what a schedule starts first."""
        longest: dict[str, float] = {}
        for key in reversed(self.stages):
            after = max((longest[child] for child in self.stages[key].children), default=0.0)
            longest[key] = cost[key] + after
        return longest


def build_tree(runs: Iterable[StudyRun], facts_of: FactsOf) -> StageTree:
    """Write every run as stages and merge equal ones."""
    stages: dict[str, PlannedStage] = {}
    records: list[RunRecord] = []
    naive = 0
    for run in runs:
        uses: list[StageUse] = []
        for stage in stages_of_chain(run.chain, facts_of(run.chain)):
            naive += 1
            planned = stages.get(stage.key)
            if planned is None:
                planned = stages[stage.key] = PlannedStage(
                    key=stage.key,
                    chain=run.chain,
                    grade=stage.grade,
                    teacher_key=stage.teacher_key,
                    teacher=stage.teacher,
                    control_of=stage.control_of,
                )
                if stage.teacher_key is not None:
                    stages[stage.teacher_key].children.append(stage.key)
            planned.uses.append(Use(variant=run.variant, arm=run.arm, seed=run.seed, grade=stage.grade.name))
            uses.append(StageUse.of(stage))
        records.append(RunRecord(variant=run.variant, arm=run.arm, seed=run.seed, stages=tuple(uses)))
    return StageTree(stages, tuple(records), naive)
