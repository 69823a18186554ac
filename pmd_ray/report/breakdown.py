"""Figures taken apart: by seed, by relation, by direction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pmd_ray.report.arms import Arm
from pmd_ray.report.evidence import Evidence
from pmd_ray.report.lines import Chain, Line
from pmd_ray.report.measures import METRICS, spread
from pmd_ray.report.numbers import Numbers
from pmd_ray.report.sheet import Cell, Sheet, sheet
from pmd_ray.train.ranks_file import DIRECTIONS

WHERE = ("id", "variant", "grade", "layers", "role")
MEANS = ("seeds", *METRICS, "mrr_sd")
TEXTS = ("id", "variant", "grade", "role", "arm", "chosen", "stage", "relation", "direction")


def per_seed_sheet(arms: Sequence[Arm], *, evidence: Evidence, numbers: Numbers) -> Sheet:
    """One row for each stage of each seed that counts, arms that were not chosen too: test metrics choose nothing."""
    columns = (*WHERE, "arm", "chosen", "seed", "stage", *METRICS, "valid_mrr", "best_epoch", "epochs", "steps")
    rows: list[dict[str, Cell]] = []
    for arm in arms:
        for line in arm.chain.lines:
            for seed in line.seeds:
                key = line.keys[seed]
                result = evidence.stages[key].result
                rows.append(
                    {
                        **_where(line),
                        "arm": line.arm,
                        "chosen": "yes" if arm.chosen else "no",
                        "seed": seed,
                        "stage": key,
                        **{metric: float(numbers.values(key, metric).mean()) for metric in METRICS},
                        "valid_mrr": evidence.valid_mrr(key),
                        "best_epoch": result.best_epoch,
                        "epochs": result.epochs,
                        "steps": result.steps,
                    }
                )
    return sheet("per_seed", columns, rows, texts=TEXTS)


def by_relation_sheet(chains: Iterable[Chain], *, evidence: Evidence, numbers: Numbers) -> Sheet:
    """Each grade on the triples of each relation, both directions: means over seeds, standard deviation of MRR."""
    places = places_of_relations(evidence)
    rows = [
        {
            **_where(line),
            "relation": relation,
            "triples": len(where),
            **_means(line, lambda key, metric, where=where: float(numbers.values(key, metric)[where].mean())),  # type: ignore[misc]
        }
        for line in _counted(chains)
        for relation, where in places.items()
    ]
    return sheet("by_relation", (*WHERE, "relation", "triples", *MEANS), rows, texts=TEXTS)


def by_direction_sheet(chains: Iterable[Chain], *, numbers: Numbers) -> Sheet:
    """Each grade on (head, relation, ?) and on (?, relation, tail): means over seeds, standard deviation of MRR."""
    rows = [
        {
            **_where(line),
            "direction": direction,
            **_means(line, lambda key, metric, place=place: numbers.of_direction(key, metric, place)),  # type: ignore[misc]
        }
        for line in _counted(chains)
        for place, direction in enumerate(DIRECTIONS)
    ]
    return sheet("by_direction", (*WHERE, "direction", *MEANS), rows, texts=TEXTS)


def places_of_relations(evidence: Evidence) -> dict[str, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Where the triples of each relation stand, relations in the order of their ids."""
    triples = evidence.triples
    relations = np.array([] if triples is None else triples["relation"].to_pylist(), dtype=object)
    return {str(name): np.flatnonzero(relations == name) for name in sorted(set(relations))}


def _means(line: Line, figure: Callable[[str, str], float]) -> dict[str, Cell]:
    """Means over seeds of a figure that is told by stage key and metric."""
    by_seed = {metric: np.array([figure(key, metric) for key in line.counted_keys]) for metric in METRICS}
    means = {metric: float(values.mean()) for metric, values in by_seed.items()}
    return {"seeds": len(line.seeds), **means, "mrr_sd": spread(by_seed["mrr"])}


def _where(line: Line) -> dict[str, Cell]:
    return {
        "id": line.id,
        "variant": line.variant,
        "grade": line.grade,
        "layers": line.layers,
        "role": line.role.value,
    }


def _counted(chains: Iterable[Chain]) -> Iterable[Line]:
    return (line for chain in chains for line in chain.lines if line.seeds)
