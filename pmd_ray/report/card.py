"""The card of a number: where a figure comes from, down to the code, the machine and the place of its artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError

from pmd_ray.report.evidence import Costs, Stage, read_stage, worded
from pmd_ray.report.find import Found, Place
from pmd_ray.report.lines import Line
from pmd_ray.report.measures import METRICS, per_triple
from pmd_ray.report.settings import difference_text
from pmd_ray.spec.attempt import Attempt, Provenance
from pmd_ray.spec.errors import UserError
from pmd_ray.store.artifacts import ArtifactBroken
from pmd_ray.store.layout import ARTIFACTS

if TYPE_CHECKING:
    from pmd_ray.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Use:
    """A row that the number stands in."""

    study: str
    variant: str
    grade: str
    arm: str
    role: str
    layers: int
    mask_rate: float
    difference: str
    """What the variant lays over the baseline; empty for the baseline."""
    dataset: str
    dataset_fingerprint: str
    encoder: str


@dataclass(frozen=True, kw_only=True)
class StageCard:
    """One seed's stage."""

    seed: int | None
    key: str
    parents: tuple[tuple[str, str], ...]
    """Grade and stage key of each teacher above it, the nearest first."""
    state: str
    where: str
    """Address of the artifact, whether or not it is there."""
    metrics: Mapping[str, float]
    """Of the test split; empty where it is missing, and for what only trials of a search use."""
    valid_mrr: float | None
    seconds: float | None
    cpu_seconds: float | None
    best_epoch: int | None
    provenance: Provenance | None
    costs: Costs | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """All of it."""

    id: str
    uses: tuple[Use, ...]
    stages: tuple[StageCard, ...]

    def json(self) -> dict[str, Any]:
        """As one object."""
        return {
            "id": self.id,
            "rows": [vars_of(use) for use in self.uses],
            "stages": [
                vars_of(stage)
                | {
                    "parents": [{"grade": grade, "stage": key} for grade, key in stage.parents],
                    "metrics": dict(stage.metrics),
                    "provenance": stage.provenance and stage.provenance.model_dump(mode="json"),
                    "costs": stage.costs and stage.costs.model_dump(mode="json"),
                    "attempts": [attempt.model_dump(mode="json") for attempt in stage.attempts],
                }
                for stage in self.stages
            ],
        }


def card(found: Found, store_of: Callable[[Found], Store]) -> Card:
    """Read what the store has of it.

    Args:
        store_of: Opens the store in which its stages lie.

    Raises:
        StorageError: The storage does not answer.
    """
    store = store_of(found)
    line = found.places[0].line if found.places else None
    return Card(
        id=found.id,
        uses=tuple(dict.fromkeys(map(_use, found.places))),
        stages=tuple(_stage(seed, key, found, line, store) for seed, key in found.keys),
    )


def vars_of(one: Use | StageCard) -> dict[str, Any]:
    """A card's fields by name."""
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def _use(place: Place) -> Use:
    record, line = place.record, place.line
    variant = record.study.variant(line.variant)
    chain = next(arm.chain for arm in variant.arms if arm.label == line.arm)
    return Use(
        study=record.study.name,
        variant=line.variant,
        grade=line.grade,
        arm=line.arm,
        role=line.role.value,
        layers=line.layers,
        mask_rate=line.mask_rate,
        difference=difference_text(variant.difference),
        dataset=record.dataset.name,
        dataset_fingerprint=record.dataset.fingerprint,
        encoder=chain.encoder.name,
    )


def _stage(seed: int | None, key: str, found: Found, line: Line | None, store: Store) -> StageCard:
    tries = store.attempts(key)
    stage, state = _read(store, key)
    if not state:
        state = worded(tries[-1]) if tries else "not trained"
    return StageCard(
        seed=seed,
        key=key,
        parents=_parents(found.places[0], line, seed) if line is not None and seed is not None else (),
        state=state,
        where=store.medium.where(f"{ARTIFACTS}/{key}"),
        metrics=_on_test(stage) if stage and not _trials_alone(found) else {},
        valid_mrr=stage.result.valid.all.mrr if stage and stage.result.valid else None,
        seconds=stage.result.seconds if stage else None,
        cpu_seconds=stage.result.cpu_seconds if stage else None,
        best_epoch=stage.result.best_epoch if stage else None,
        provenance=stage.provenance if stage else None,
        costs=stage.costs if stage else None,
        attempts=tuple(tries),
    )


def _trials_alone(found: Found) -> bool:
    """Whether only a search's trials use it: what was not confirmed is not looked at on test, or test would choose."""
    return bool(found.places) and all(place.record.trials for place in found.places)


def _on_test(stage: Stage) -> dict[str, float]:
    return {m: float(per_triple(m, stage.ranks.ranks_T2).mean()) for m in METRICS}


def _read(store: Store, key: str) -> tuple[Stage | None, str]:
    """A stage's artifact, and a word on it; no word where there is none."""
    try:
        stage = read_stage(store, key)
    except (ArtifactBroken, UserError, ValidationError, pa.ArrowException) as error:
        return None, f"cannot be read: {str(error).splitlines()[0]}"
    return stage, "stored" if stage else ""


def _parents(place: Place, line: Line, seed: int) -> tuple[tuple[str, str], ...]:
    """The teachers above a grade, the nearest first."""
    by_name = {other.grade: other for other in place.chain.lines}
    above = []
    while line.teacher is not None:
        line = by_name[line.teacher]
        above.append((line.grade, line.keys[seed]))
    return tuple(above)
