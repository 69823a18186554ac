"""Nuisance settings: for each variant the choice with the best validation MRR is reported; test never chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pmd_ray.report.lines import Chain
from pmd_ray.spec.study_record import StudyRecord

ValidMrr = Callable[[str], float | None]
"""Validation MRR of a stage by its key; None where it was not validated."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One choice of the nuisance settings for one variant."""

    chain: Chain
    valid_mrr: float | None
    """Mean over its seeds, of the last grade; None without a seed or a validation."""
    chosen: bool


def choose(chains: Sequence[Chain], valid_mrr: ValidMrr) -> list[Arm]:
    """Every arm, one of each variant chosen: the best mean validation MRR of the last grade over seeds.

    Only arms with the most seeds compete: a mean over fewer seeds is no rival. Equal ones: the first.
    """
    arms: list[Arm] = []
    for variant in dict.fromkeys(chain.variant for chain in chains):
        rivals = [chain for chain in chains if chain.variant == variant]
        means = [_mean(chain, valid_mrr) for chain in rivals]
        best = _best(rivals, means)
        arms += [
            Arm(chain=chain, valid_mrr=mean, chosen=chain is best) for chain, mean in zip(rivals, means, strict=True)
        ]
    return arms


def tried(record: StudyRecord) -> int:
    """How many choices were tried for each variant."""
    return max(len(variant.arms) for variant in record.study.variants)


def _best(rivals: Sequence[Chain], means: Sequence[float | None]) -> Chain:
    most = max(len(chain.seeds) for chain in rivals)
    scores = [
        (len(chain.seeds) == most, -1.0 if mean is None else mean) for chain, mean in zip(rivals, means, strict=True)
    ]
    return rivals[scores.index(max(scores))]


def _mean(chain: Chain, valid_mrr: ValidMrr) -> float | None:
    values = [valid_mrr(key) for key in chain.last.counted_keys]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
