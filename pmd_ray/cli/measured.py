"""What earlier stages cost, read from a store for a plan: those of the study, and like ones of other studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # every file of this room is imported with each verb
    from pmd_ray.plan.cost import Measured
    from pmd_ray.plan.identities import Identities
    from pmd_ray.plan.tree import StageTree
    from pmd_ray.plan.workload import Workload
    from pmd_ray.spec.attempt import Attempt
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store

STUDIES_AT_MOST = 3
"""Other studies that are looked into, the newest first."""
LIKE_AT_MOST = 5
"""Stages of a kind that are read from other studies."""


def known_stages(store: Store | None, tree: StageTree, identities: Identities) -> tuple[set[str], list[Measured]]:
    """Which stages of a tree a store has, and what these and like ones cost.

    Args:
        store: None where there is none yet.
        tree: What is planned.
        identities: Of its graph and encoders; nothing is known of a store while something of it is missing here.
    """
    from pmd_ray.plan.workload import workloads

    if store is None or not identities.known:
        return set(), []
    stored = store.stored(tree.stages)
    measured = measured_stages(store, tree.stages, stored)
    known = {one.key for one in measured}
    return stored, measured + measured_elsewhere(store, identities, workloads(tree, identities), known)


def measured_stages(store: Store, keys: Collection[str], stored: Collection[str]) -> list[Measured]:
    """What the given stages cost when they were trained; those that never were are left out.

    Args:
        store: Of a remote one only manifests of stored stages are read, a request each.
        keys: Stages of the study.
        stored: Of those, the ones that the store has.
    """
    found = [_of_manifest(store, key, None) for key in keys if key in stored]
    if store.local is not None:
        # Removed since (pmd store gc), but trained once.
        found += [_of_attempts(key, store.attempts(key)) for key in keys if key not in stored]
    return [one for one in found if one is not None]


def measured_elsewhere(
    store: Store, identities: Identities, ours: Mapping[str, Workload], known: Collection[str]
) -> list[Measured]:
    """Stored stages of other studies of the same graph that are like one of ours, where none of ours was measured."""
    from pmd_ray.plan.workload import workloads_of

    wanted = {work.kind for work in ours.values()} - {ours[key].kind for key in known}
    if not wanted or store.local is None:
        return []
    found: list[Measured] = []
    counts: Counter[Workload] = Counter()
    for record in _records(store, identities):
        theirs = {key: work for key, work in workloads_of(record, identities).items() if work.kind in wanted}
        for key in sorted(store.stored(theirs.keys() - ours.keys())):
            one = _of_manifest(store, key, theirs[key]) if counts[theirs[key].kind] < LIKE_AT_MOST else None
            if one is not None:
                counts[theirs[key].kind] += 1
                found.append(one)
    return found


def _records(store: Store, identities: Identities) -> Iterator[StudyRecord]:
    """The newest studies of the same graph."""
    from pydantic import ValidationError

    from pmd_ray.spec.study_record import StudyRecord

    records = []
    for text in store.studies().values():
        try:
            records.append(StudyRecord.model_validate_json(text))
        except ValidationError:  # of another version
            continue
    fingerprint = identities.dataset.fingerprint if identities.dataset else None
    same = [record for record in records if record.dataset.fingerprint == fingerprint]
    yield from sorted(same, key=lambda record: record.created, reverse=True)[:STUDIES_AT_MOST]


def _of_manifest(store: Store, key: str, workload: Workload | None) -> Measured | None:
    from pmd_ray.plan.cost import Measured

    manifest = store.manifest(key)
    if manifest is None or not manifest.seconds:
        return None
    peaks = [one.peak_memory_bytes or 0 for one in store.attempts(key)] if store.local is not None else []
    return Measured(
        key=key,
        seconds=manifest.seconds,
        cpu_seconds=manifest.cpu_seconds,
        threads=manifest.provenance.threads,
        peak_memory=max(peaks, default=0) or None,
        workload=workload,
    )


def _of_attempts(key: str, attempts: list[Attempt]) -> Measured | None:
    """All attempts up to one that finished, together."""
    from pmd_ray.plan.cost import Measured
    from pmd_ray.spec.attempt import AttemptState

    done = [place for place, attempt in enumerate(attempts) if attempt.state is AttemptState.DONE]
    if not done:
        return None
    spent = attempts[: done[-1] + 1]
    return Measured(
        key=key,
        seconds=sum(attempt.seconds for attempt in spent),
        cpu_seconds=sum(attempt.cpu_seconds for attempt in spent),
        peak_memory=max(attempt.peak_memory_bytes or 0 for attempt in spent) or None,
    )
