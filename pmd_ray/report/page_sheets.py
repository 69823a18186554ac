"""Tables that only the page has: directions and relations side by side, variants, choices of nuisance settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pmd_ray.report.arms import Arm
from pmd_ray.report.breakdown import places_of_relations
from pmd_ray.report.evidence import Evidence
from pmd_ray.report.lines import Chain
from pmd_ray.report.numbers import Numbers
from pmd_ray.report.settings import difference_text
from pmd_ray.report.sheet import Cell, Sheet, number, sheet
from pmd_ray.spec.study import BASELINE
from pmd_ray.spec.study_record import StudyRecord

RELATIONS_SHOWN = 20
"""The most frequent ones; by_relation.csv has all."""


def directions_shown(chains: Sequence[Chain], numbers: Numbers) -> Sheet:
    """MRR and Hits@1 of the last grade, each direction for itself."""
    columns = ("variant", "layers", "MRR (h, r, ?)", "MRR (?, r, t)", "Hits@1 (h, r, ?)", "Hits@1 (?, r, t)")
    rows = []
    for line in (chain.last for chain in chains if chain.seeds):
        figures = [
            number(float(np.mean([numbers.of_direction(key, metric, place) for key in line.counted_keys])))
            for metric in ("mrr", "hits@1")
            for place in (0, 1)
        ]
        cells: list[Cell] = [line.variant, str(line.layers), *figures]
        rows.append(dict(zip(columns, cells, strict=True)))
    caption = "The last grade of each variant, means over seeds; every grade: tables/by_direction.csv."
    return sheet("by_direction", columns, rows, texts=("variant",), caption=caption)


def relations_shown(chains: Sequence[Chain], evidence: Evidence, numbers: Numbers) -> Sheet:
    """MRR of the last grade on the most frequent relations, one column a variant."""
    places = places_of_relations(evidence)
    frequent = sorted(places, key=lambda name: (-len(places[name]), name))[:RELATIONS_SHOWN]
    lines = [chain.last for chain in chains if chain.seeds]
    rows = []
    for name in frequent:
        cells: dict[str, Cell] = {"relation": name, "test triples": f"{len(places[name]):,}"}
        for line in lines:
            values = [numbers.values(key, "mrr")[places[name]].mean() for key in line.counted_keys]
            cells[_column(line.variant)] = number(float(np.mean(values)))
        rows.append(cells)
    columns = ("relation", "test triples", *(_column(line.variant) for line in lines))
    left_out = f" {len(places) - len(frequent)} rarer ones are left out." if len(places) > len(frequent) else ""
    caption = (
        f"MRR of the last grade by relation, both directions, means over seeds.{left_out} All: tables/by_relation.csv."
    )
    return sheet("by_relation", columns, rows, texts=("relation",), caption=caption)


def variants_shown(record: StudyRecord) -> Sheet:
    """What each variant lays over the baseline."""
    rows: list[dict[str, Cell]] = [
        {
            "variant": variant.name,
            "differs in": difference_text(variant.difference) or ("-" if variant.name == BASELINE else ""),
            "same as": variant.alias_of,
        }
        for variant in record.study.variants
    ]
    roles = record.study.roles
    told = [
        f"{name}: {', '.join(values)}."
        for name, values in (("Scientific", roles.scientific), ("Tuned", tuple(roles.nuisance)), ("Fixed", roles.fixed))
        if values
    ]
    columns = ("variant", "same as", "differs in")
    return sheet("variants", columns, rows, texts=columns, optional=("same as",), caption=" ".join(told))


def arms_shown(arms: Sequence[Arm]) -> Sheet:
    """Every choice that was tried, with what chose it."""
    rows: list[dict[str, Cell]] = [
        {
            "variant": arm.chain.variant,
            "tried": arm.chain.arm,
            "seeds": str(len(arm.chain.seeds)),
            "validation MRR": number(arm.valid_mrr, 4),
            "chosen": "chosen" if arm.chosen else "",
        }
        for arm in arms
    ]
    columns = ("variant", "tried", "seeds", "validation MRR", "chosen")
    return sheet("arms", columns, rows, texts=("variant", "tried", "chosen"))


def _column(variant: str) -> str:
    return f"{variant} "  # never the name of another column, such as a variant called `relation`
