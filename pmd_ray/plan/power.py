"""What a study can show before it is run: the smallest difference that its seeds and test triples resolve."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pmd_ray.spec.study import CompareConfig, StudyConfig
from pmd_ray.stats.power import (
    ASSUMED_HITS_AT_1,
    ASSUMED_RECIPROCAL_RANK,
    fewest_seeds,
    smallest_difference,
    smallest_margin,
)
from pmd_ray.stats.words import Alternative

LEVEL = 0.95
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class QuestionPower:
    """What one question of a study can show."""

    question: str
    metric: str
    alternative: str
    comparisons: int
    """Tests of the question, which Holm's correction counts."""
    seeds: int
    triples: int
    """Of the test split."""
    difference: float | None
    """Found with probability `power` at `level`, the strictest step of Holm's correction; None where none would do."""
    reason: str
    """Why there is none, and the way out."""
    smallest_p: float | None
    """Of the exact sign-flip test over the seeds, not corrected."""
    by_interval: float | None
    """The difference at which the interval alone would leave out 0 so often."""
    margin: float | None = None
    """Asked for: how much worse a variant may be."""
    smallest_margin: float | None = None
    """Within which two equal variants would be shown to be non-inferior."""
    fewest_seeds: int
    """With which the exact test reaches the level at all."""
    level: float = LEVEL
    power: float = POWER
    assumed: str
    """The spread that was taken for granted."""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def question_power(study: StudyConfig, compare: CompareConfig, *, triples: int, tests: int) -> QuestionPower:
    """The smallest difference that a question can resolve, with spreads assumed until they are measured.

    Args:
        study: Its seeds count.
        compare: The question.
        triples: Of the test split, 1 or more.
        tests: Pairs and grades that are compared.
    """
    spread = ASSUMED_HITS_AT_1 if compare.metric.startswith("hits") else ASSUMED_RECIPROCAL_RANK
    sds = {"sd_seed": spread.seed, "sd_triple": spread.triple, "sd_rest": spread.rest}
    seeds, comparisons = len(study.seeds), max(1, tests)
    alternative = Alternative(compare.alternative)
    found = smallest_difference(
        seeds, triples, **sds, level=LEVEL, power=POWER, alternative=alternative, comparisons=comparisons
    )
    margin = None
    if compare.margin is not None:
        margin = smallest_margin(seeds, triples, **sds, level=LEVEL, power=POWER).difference
    return QuestionPower(
        question=compare.question,
        metric=compare.metric,
        alternative=compare.alternative,
        comparisons=comparisons,
        seeds=seeds,
        triples=triples,
        difference=found.difference,
        reason=found.reason,
        smallest_p=found.smallest_p,
        by_interval=found.by_interval,
        margin=compare.margin,
        smallest_margin=margin,
        fewest_seeds=fewest_seeds(LEVEL, alternative, comparisons),
        assumed=f"spreads assumed: seeds {spread.seed:g}, triples {spread.triple:g}, rest {spread.rest:g}",
    )
