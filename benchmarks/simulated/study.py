"""A study of any size: a baseline and variants that differ from it in one grade; the grades before it are shared."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import Facts, stages_of_chain
from pmd_ray.spec.keys import digest
from pmd_ray.spec.study import BASELINE, StudyRun

SEEDS = 20
FACTS = Facts(dataset=digest("a simulated graph"), encoder=digest("a simulated encoder"), device="cuda")


def simulated_tree(baseline: ChainConfig, *, stages: int, seeds: int = SEEDS) -> StageTree:
    """The tree of a study with so many distinct stages, up to a variant's own over all seeds more."""
    return build_tree(runs_of(baseline, stages=stages, seeds=seeds), lambda chain: FACTS)


def runs_of(baseline: ChainConfig, *, stages: int, seeds: int) -> Iterator[StudyRun]:
    """Variants, each with every seed, as a study has them."""
    whole = len(stages_of_chain(baseline, FACTS))
    left = stages - whole * seeds
    yield from _seeded(BASELINE, baseline, seeds)
    own = {place: _own(baseline, place) for place in range(1, len(baseline.grades))} or {0: whole}
    for number, place in enumerate(cycle(own), 1):
        if left <= 0:
            return
        yield from _seeded(f"variant_{number}", _changed(baseline, place, number), seeds)
        left -= seeds * own[place]


def _seeded(variant: str, chain: ChainConfig, seeds: int) -> Iterator[StudyRun]:
    for seed in range(seeds):
        yield StudyRun(variant=variant, arm="", seed=seed, chain=chain.model_copy(update={"seed": seed}))


def _changed(baseline: ChainConfig, place: int, number: int) -> ChainConfig:
    """Another learning rate for one grade: what comes after it is trained anew as well."""
    grade = baseline.grades[place]
    optimiser = grade.optimiser.model_copy(update={"lr": grade.optimiser.lr * (1 + number / 1e6)})
    grades = list(baseline.grades)
    grades[place] = grade.model_copy(update={"optimiser": optimiser})
    return baseline.model_copy(update={"grades": tuple(grades)})


def _own(baseline: ChainConfig, place: int) -> int:
    """Stages of a variant that the baseline does not have."""
    theirs, ours = (stages_of_chain(chain, FACTS) for chain in (baseline, _changed(baseline, place, 1)))
    return len({stage.key for stage in ours} - {stage.key for stage in theirs})
