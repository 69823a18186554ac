"""A whole plan: the stage tree of a study with what is stored, what it costs, what it can show, and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from pmd_ray.plan.cautions import Circumstances, cautions
from pmd_ray.plan.cost import Measured, StageCost, stage_costs
from pmd_ray.plan.identities import Identities
from pmd_ray.plan.memory import peak_memory
from pmd_ray.plan.power import QuestionPower, question_power
from pmd_ray.plan.questions import compared
from pmd_ray.plan.rate import Rate, cpu_rate, gpu_name, gpu_rate
from pmd_ray.plan.schedule import wall_seconds
from pmd_ray.plan.tree import PlannedStage, StageTree, build_tree
from pmd_ray.plan.variant_plans import VariantPlan, variant_plans
from pmd_ray.plan.workload import workloads
from pmd_ray.spec.study import StudyConfig

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What `pmd plan` shows; nothing has been trained for it."""

    study: StudyConfig
    identities: Identities
    tree: StageTree
    stored_keys: frozenset[str]
    """Of the tree, those that the store has."""
    variants: tuple[VariantPlan, ...]
    costs: Mapping[str, StageCost]
    """Of every stage by key, stored ones too."""
    memory: Mapping[str, float]
    """Peak bytes of every stage by key."""
    machine_memory: int | None
    slots: int
    """Stages at once."""
    threads: int
    """Of each stage on a CPU."""
    wall_seconds: float
    power: tuple[QuestionPower, ...]
    warnings: tuple[str, ...]

    @cached_property
    def places(self) -> dict[str, int]:
        """The variants in the file's order, each with its place; aliases too."""
        return {variant.name: place for place, variant in enumerate(self.study.variants)}

    @cached_property
    def distinct_variants(self) -> int:
        """Variants that mean something of their own."""
        return sum(variant.alias_of is None for variant in self.study.variants)

    @property
    def stored(self) -> int:
        """Stages that need no training."""
        return len(self.stored_keys)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock of each stage by key, stored ones too: what a walk starts longer chains first by."""
        return {key: cost.wall_seconds for key, cost in self.costs.items()}

    @property
    def unit(self) -> str:
        """What hours are of: `CPU` or `GPU`."""
        return "GPU" if self.identities.device == "cuda" else "CPU"

    @property
    def left(self) -> list[PlannedStage]:
        """Stages to train."""
        return [stage for stage in self.tree.stages.values() if stage.key not in self.stored_keys]

    @property
    def hours(self) -> float:
        """CPU- or GPU-hours that are left."""
        return sum(self.costs[stage.key].seconds for stage in self.left) / HOUR

    @property
    def naive_hours(self) -> float:
        """Had every run trained its own stages."""
        return sum(self.costs[use.key].seconds for run in self.tree.runs for use in run.stages) / HOUR

    @property
    def largest(self) -> tuple[PlannedStage, float]:
        """The stage that takes most memory, and its bytes."""
        key = max(self.memory, key=lambda key: self.memory[key])
        return self.tree.stages[key], self.memory[key]

    @property
    def source(self) -> str:
        """Where the costs come from: each source with its number of stages."""
        counted = Counter(self.costs[stage.key].source for stage in self.left or self.tree.stages.values())
        return "; ".join(
            f"{source}: {count} stage{'' if count == 1 else 's'}" for source, count in counted.most_common()
        )

    def json(self) -> dict[str, Any]:
        """One object of plain values."""
        stage, largest = self.largest
        return {
            "study": self.study.name,
            "about": self.study.about,
            "seeds": list(self.study.seeds),
            "device": self.identities.device,
            "dataset": self.identities.dataset.model_dump(mode="json") if self.identities.dataset else None,
            "known": self.identities.known,
            "missing": list(self.identities.missing),
            "stages": {
                "naive": self.tree.naive,
                "distinct": self.tree.distinct,
                "stored": self.stored,
                "left": len(self.left),
            },
            "variants": [asdict(variant) for variant in self.variants],
            "cost": {
                f"{self.unit.lower()}_hours": self.hours,
                "wall_hours": self.wall_seconds / HOUR,
                "naive_hours": self.naive_hours,
                "slots": self.slots,
                "threads": self.threads,
                "by_stage": [self._stage_json(one) for one in self.tree.stages.values()],
                "source": self.source,
            },
            "memory": {
                "largest_stage_bytes": round(largest),
                "largest_stage": stage.key,
                "machine_bytes": self.machine_memory,
            },
            "power": self._power_json(),
            "warnings": list(self.warnings),
        }

    def _stage_json(self, stage: PlannedStage) -> dict[str, Any]:
        cost = self.costs[stage.key]
        return {
            "key": stage.key,
            "grade": stage.grade.name,
            "layers": stage.grade.layers,
            "seed": stage.seed,
            "teacher": stage.teacher_key,
            "variants": list(dict.fromkeys(use.variant for use in stage.uses)),
            "stored": stage.key in self.stored_keys,
            "seconds": cost.seconds,
            "wall_seconds": cost.wall_seconds,
            "memory_bytes": round(self.memory[stage.key]),
            "source": cost.source,
        }

    def _power_json(self) -> dict[str, Any]:
        """The first question's figures stand beside all of them."""
        first = self.power[0] if self.power else None
        return {
            "seeds": len(self.study.seeds),
            "test_triples": self.identities.texts.sizes.test,
            "smallest_difference": first and first.difference,
            "smallest_p": first and first.smallest_p,
            "questions": [question.json() for question in self.power],
        }


def make_plan(
    study: StudyConfig,
    *,
    identities: Identities,
    tree: StageTree | None = None,
    stored: Collection[str] = (),
    measured: Iterable[Measured] = (),
    slots: int,
    threads: int = 1,
    memory: int | None = None,
    rate: Rate | None = None,
) -> StudyPlan:
    """Plan a study.

    Args:
        study: Every chain written out.
        identities: Of its graph and encoders.
        tree: Of its runs, where the caller has it.
        stored: Keys that the store has; nothing counts as stored while something is missing on this machine.
        measured: What earlier stages cost.
        slots: Stages at once, 1 or more.
        threads: Of each stage on a CPU.
        memory: Bytes that stages share; None is not known.
        rate: Of training; None times a product, or takes the GPU's for granted.
    """
    tree = tree or build_tree(study.runs(), identities.facts_of)
    there = frozenset(stored) & tree.stages.keys() if identities.known else frozenset[str]()
    measured = list(measured)
    work, texts = workloads(tree, identities), identities.texts
    if rate is None:
        rate = gpu_rate(gpu_name()) if identities.device == "cuda" else cpu_rate()
    names = {key: stage.grade.name for key, stage in tree.stages.items()}
    costs = stage_costs(work, names, texts, measured=measured, rate=rate, threads=threads)
    peaks = {one.key: float(one.peak_memory) for one in measured if one.peak_memory}
    peak = {key: peaks.get(key) or peak_memory(one, texts) for key, one in work.items()}
    left = [key for key in tree.stages if key not in there]
    power = tuple(
        question_power(study, asked, triples=max(1, texts.sizes.test), tests=_tests(study, tree, place))
        for place, asked in enumerate(study.compare)
    )
    here = Circumstances(
        hours=sum(costs[key].seconds for key in left) / HOUR,
        unit="GPU" if identities.device == "cuda" else "CPU",
        stages=len(left),
        slots=slots,
        largest_stage=max((peak[key] for key in left), default=0.0),
        memory=memory,
    )
    walls = {key: cost.wall_seconds for key, cost in costs.items()}
    return StudyPlan(
        study=study,
        identities=identities,
        tree=tree,
        stored_keys=there,
        variants=variant_plans(study, tree, there),
        costs=costs,
        memory=peak,
        machine_memory=memory,
        slots=slots,
        threads=threads,
        wall_seconds=wall_seconds(tree, walls, stored=there, slots=slots),
        power=power,
        warnings=cautions(study, tree, power, here),
    )


def _tests(study: StudyConfig, tree: StageTree, place: int) -> int:
    """Comparisons of a question that Holm's correction counts."""
    return sum(pair.is_test for pair in compared(study, study.compare[place], tree))
