"""Which grades a question compares, pair by pair: depths that are not there, that differ, that are one stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pmd_ray.plan.tree import StageTree
from pmd_ray.spec.study import CompareConfig, StudyConfig
from pmd_ray.spec.study_record import StageUse


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One pair at one grade."""

    variant: str
    control: str
    stage: StageUse | None
    """None where the variant has no such grade."""
    against: StageUse | None

    @property
    def is_test(self) -> bool:
        """Whether there are two stages to compare."""
        return self.stage is not None and self.against is not None and self.stage.key != self.against.key


def compared(study: StudyConfig, compare: CompareConfig, tree: StageTree) -> Iterator[Compared]:
    """What a question compares, by the first seed and the first choice of nuisance settings."""
    chains = _chains(study, tree)
    for variant, control in study.pairs(compare):
        mine, theirs = chains[variant], chains[control]
        match compare.grade:
            case "last":
                depths = [(max(mine.items(), key=_place)[0], max(theirs.items(), key=_place)[0])]
            case "each":
                depths = [(layers, layers) for layers in mine if layers in theirs]
            case layers:
                depths = [(int(layers), int(layers))]
        for my_depth, their_depth in depths:
            stage, against = mine.get(my_depth), theirs.get(their_depth)
            yield Compared(
                variant=variant,
                control=control,
                stage=stage[1] if stage else None,
                against=against[1] if against else None,
            )


def _place(item: tuple[int, tuple[int, StageUse]]) -> int:
    return item[1][0]


def _chains(study: StudyConfig, tree: StageTree) -> dict[str, dict[int, tuple[int, StageUse]]]:
    """By variant, the last grade of each depth with its place, controls left out; aliases have what they mean."""
    found: dict[str, dict[int, tuple[int, StageUse]]] = {}
    for run in tree.runs:
        if run.variant not in found:
            stages = [stage for stage in run.stages if stage.control_of is None]
            found[run.variant] = {stage.layers: (place, stage) for place, stage in enumerate(stages)}
    return found | {v.name: found[v.alias_of] for v in study.variants if v.alias_of is not None}
