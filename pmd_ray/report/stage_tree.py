"""The stage tree of a study, seeds together: which grades are trained once for several variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pmd_ray.report.evidence import Evidence
from pmd_ray.report.lines import Chain, Line, Role


@dataclass(frozen=True, kw_only=True)
class Node:
    """The stages that are equal but for the seed."""

    id: str
    layers: int
    mask_rate: float
    role: Role
    names: tuple[str, ...]
    """What chains call the grade."""
    users: tuple[str, ...]
    """Variants, with their arm where nuisance settings are tuned."""
    trained: int
    """Seeds whose artifact is there."""
    seeds: int
    children: tuple[Node, ...]


def stage_tree(chains: Sequence[Chain], evidence: Evidence) -> tuple[Node, ...]:
    """The grades without a teacher, each with all that was taught from it, in the order of the study's file."""
    lines: dict[str, list[tuple[Chain, Line]]] = {}
    below: dict[str | None, list[str]] = {}
    for chain in chains:
        ids = {line.grade: line.id for line in chain.lines}
        for line in chain.lines:
            if line.id not in lines:
                below.setdefault(ids[line.teacher] if line.teacher else None, []).append(line.id)
            lines.setdefault(line.id, []).append((chain, line))

    def node(place: str) -> Node:
        first = lines[place][0][1]
        return Node(
            id=place,
            layers=first.layers,
            mask_rate=first.mask_rate,
            role=first.role,
            names=tuple(dict.fromkeys(line.grade for _, line in lines[place])),
            users=tuple(dict.fromkeys(_user(chain) for chain, _ in lines[place])),
            trained=sum(key in evidence.stages for key in first.keys.values()),
            seeds=len(first.keys),
            children=tuple(map(node, below.get(place, ()))),
        )

    return tuple(map(node, below.get(None, ())))


def _user(chain: Chain) -> str:
    return f"{chain.variant} ({chain.arm})" if chain.arm else chain.variant
