"""What sharing saved: stages and hours had every trial trained its own, against what the store says was trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pmd_ray.report.origin import Told, commit_text, machine_text, versions_text
from pmd_ray.report.sheet import Cell, Sheet, number, sheet
from pmd_ray.spec.attempt import Attempt, AttemptState, Manifest
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState
from pmd_ray.spec.study_record import StageUse

if TYPE_CHECKING:
    from pmd_ray.store.store import Store

COLUMNS = ("stages", "naive", "distinct", "in the store")
CAPTION = (
    "Naive: had every trial trained its own stages. Distinct: each stage once. In the store: stages with an attempt "
    "that began or ended well, counted from the attempts themselves. A pruned trial asks for stages that nobody trains."
)


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Counts of stages, and hours of CPUs (of GPUs, where the search ran on them)."""

    asked: int
    distinct: int
    finished_naive: int
    """Stages that trials saw to their end, once a trial."""
    finished: int
    """The same, each once."""
    begun_in_store: int
    """Stages of the search with an attempt."""
    trained_in_store: int
    """Those with an attempt that ended well."""
    ours_in_store: int
    """Of them trained for this search; the rest was there, or another study trained it."""
    hours_naive: float | None
    hours: float | None
    """None: not known."""
    estimated: bool
    """Whether some of the hours are told by the trials, for want of a manifest."""
    complaints: tuple[str, ...]
    """Where record and store do not agree."""
    costs: Mapping[str, float]
    """Hours by key of the finished stages, where known."""
    commits: tuple[Told, ...]
    machines: tuple[Told, ...]
    versions: tuple[Told, ...]


def sharing(record: SearchRecord, store: Store) -> Sharing:
    """Count it.

    Raises:
        StorageError: The storage does not answer.
    """
    keys = list(dict.fromkeys(use.key for trial in record.trials for use in trial.stages))
    attempts = {key: tuple(store.attempts(key)) for key in keys}
    manifests = {key: found for key in keys if (found := store.manifest(key)) is not None}
    done = {trial.number: finished_keys(trial) for trial in record.trials}
    finished = list(dict.fromkeys(key for own in done.values() for key in own))
    known = _known_hours(record, manifests, attempts)
    costs = {key: hours for key, hours in _with_estimates(record, done, known).items() if key in set(finished)}
    all_known = bool(finished) and all(key in costs for key in finished)
    trained = {key for key in keys if any(attempt.state is AttemptState.DONE for attempt in attempts[key])}
    provenance = [manifest.provenance for manifest in manifests.values()]
    return Sharing(
        asked=sum(len(trial.stages) for trial in record.trials),
        distinct=len(keys),
        finished_naive=sum(map(len, done.values())),
        finished=len(finished),
        begun_in_store=sum(bool(attempts[key]) for key in keys),
        trained_in_store=len(trained),
        ours_in_store=sum(_ours(record, attempts[key]) for key in trained),
        hours_naive=sum(costs[key] for own in done.values() for key in own) if all_known else None,
        hours=sum(costs[key] for key in finished) if all_known else None,
        estimated=any(key not in known for key in costs),
        complaints=tuple(_complaints(finished, attempts, manifests)),
        costs=costs,
        commits=_told(map(commit_text, provenance)),
        machines=_told(map(machine_text, provenance)),
        versions=_told(map(versions_text, provenance)),
    )


def finished_keys(trial: TrialRecord) -> tuple[str, ...]:
    """Keys of the stages that a trial saw to their end: all of a trial that is done, else the grades it reported."""
    reported = {report.grade for report in trial.reports if report.grade_done}

    def ended(use: StageUse) -> bool:
        return trial.state is TrialState.DONE or use.grade in reported

    return tuple(dict.fromkeys(use.key for use in trial.stages if ended(use)))


def sharing_sheet(found: Sharing, *, gpu: bool) -> Sheet:
    """Counts and hours."""
    rows: list[dict[str, Cell]] = [
        {"stages": "asked for", "naive": found.asked, "distinct": found.distinct, "in the store": found.begun_in_store},
        {
            "stages": "trained to the end",
            "naive": found.finished_naive,
            "distinct": found.finished,
            "in the store": found.trained_in_store,
        },
        {
            "stages": "GPU-hours" if gpu else "CPU-hours",
            "naive": None if found.hours_naive is None else number(found.hours_naive, 2),
            "distinct": None if found.hours is None else number(found.hours, 2),
        },
    ]
    return sheet("sharing", COLUMNS, rows, texts=("stages",), caption=CAPTION)


def sharing_text(found: Sharing, *, gpu: bool) -> str:
    """One sentence or two."""
    told = (
        f"The trials asked for {found.asked} stages, {found.distinct} of them distinct; {found.finished_naive} were "
        f"seen to their end, and for these {found.finished} had to be trained."
    )
    if found.trained_in_store > found.ours_in_store:
        told += f" {found.trained_in_store - found.ours_in_store} of those in the store were trained by others."
    if found.hours is None or found.hours_naive is None:
        return told
    unit = "GPU-hours" if gpu else "CPU-hours"
    guess = " (in part as the trials tell it)" if found.estimated else ""
    return f"{told} That took {found.hours:.2f} {unit} where naive takes {found.hours_naive:.2f}{guess}."


def _known_hours(
    record: SearchRecord, manifests: Mapping[str, Manifest], attempts: Mapping[str, Sequence[Attempt]]
) -> dict[str, float]:
    """By key: of CPUs from the manifest, of GPUs from the attempts."""
    if record.device == "cpu":
        return {key: manifest.cpu_seconds / 3600 for key, manifest in manifests.items() if manifest.cpu_seconds > 0}
    spent = {key: sum(attempt.gpu_seconds for attempt in attempts[key]) for key in manifests}
    return {key: seconds / 3600 for key, seconds in spent.items() if seconds > 0}


def _with_estimates(
    record: SearchRecord, done: Mapping[int, Sequence[str]], known: Mapping[str, float]
) -> dict[str, float]:
    """What a trial cost beyond its known stages, shared out evenly among the others."""
    costs = dict(known)
    for trial in record.trials:
        missing = [key for key in done[trial.number] if key not in costs]
        if missing and trial.seconds is not None and trial.state is TrialState.DONE:
            rest = trial.seconds / 3600 - sum(costs.get(key, 0.0) for key in done[trial.number])
            costs |= dict.fromkeys(missing, max(rest, 0.0) / len(missing))
    return costs


def _ours(record: SearchRecord, attempts: Iterable[Attempt]) -> bool:
    names = {record.search.name, record.id}
    return any(attempt.state is AttemptState.DONE and attempt.study in names for attempt in attempts)


def _complaints(
    finished: Sequence[str], attempts: Mapping[str, Sequence[Attempt]], manifests: Mapping[str, Manifest]
) -> Iterable[str]:
    untold = [key for key in finished if not any(a.state is AttemptState.DONE for a in attempts[key])]
    if untold:
        yield (
            f"{len(untold)} of {len(finished)} stages that trials saw to their end have no attempt in the store that "
            f"ended well: {_short(untold)}"
        )
    gone = [key for key in finished if key not in manifests]
    if gone:
        yield f"the artifacts of {len(gone)} of {len(finished)} finished stages are not in the store: {_short(gone)}"
    twice = [key for key in attempts if sum(a.state is AttemptState.DONE for a in attempts[key]) > 1]
    if twice:
        yield f"{len(twice)} stages were trained to the end more than once: {_short(twice)}"


def _short(keys: Sequence[str]) -> str:
    return ", ".join(key[:12] for key in keys[:5]) + (", ..." if len(keys) > 5 else "")


def _told(values: Iterable[str]) -> tuple[Told, ...]:
    return tuple(Told(value=value, stages=stages) for value, stages in Counter(values).most_common())
