"""What training and using each grade cost; times stand here and in no other table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pmd_ray.report.evidence import Evidence
from pmd_ray.report.lines import Chain, Line
from pmd_ray.report.sheet import Cell, Sheet, number, sheet, size
from pmd_ray.report.summary_sheets import grade_text
from pmd_ray.spec.attempt import Attempt, AttemptState

BATCHES = ("1", "256")
"""Batch sizes at which latency is measured."""
COLUMNS = (
    *("id", "variant", "grade", "layers", "stages", "seconds", "cpu_hours", "gpu_hours"),
    *("peak_memory_bytes", "gpu_memory_bytes", *(f"latency_ms_{batch}" for batch in BATCHES), "latency_device"),
    *("attempts", "lost_seconds", "shared_with"),
)
SHOWN = (
    *("variant", "grade", "seconds", "CPU-hours", "GPU-hours", "memory", "GPU memory"),
    *(*(f"ms, batch {batch}" for batch in BATCHES), "attempts", "lost s", "shared with"),
)
CAPTION = (
    "Seconds: wall-clock of one training, mean over seeds. CPU- and GPU-hours: of all seeds together. Memory: the "
    "largest of any seed. Latency: of one batch of queries, mean over seeds. Lost: seconds of attempts that failed or "
    "vanished, as far as their epochs were not finished. A stage that several variants share was paid once and stands "
    "in each of their rows."
)


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """One grade of one variant. None is not known."""

    line: Line
    stages: int
    """Seeds whose artifact is there."""
    seconds: float | None
    cpu_hours: float | None
    gpu_hours: float | None
    peak_memory_bytes: int | None
    gpu_memory_bytes: int | None
    latency_ms: tuple[float | None, ...]
    """For each of `BATCHES`."""
    latency_device: str | None
    attempts: int | None
    lost_seconds: float | None
    shared_with: tuple[str, ...]
    """Other variants that use these very stages."""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What the whole study cost, each stage counted once."""

    naive: int
    """Stages, had every chain trained its own."""
    distinct: int
    there: int
    """Distinct stages whose artifact is there."""
    cpu_hours: float
    gpu_hours: float
    lost_seconds: float
    attempts: int


def cost_rows(chains: Sequence[Chain], evidence: Evidence) -> list[CostRow]:
    """A row for each grade of each chain."""
    users: dict[str, list[str]] = {}
    for chain in chains:
        for line in chain.lines:
            users.setdefault(line.id, []).append(line.variant)
    return [_row(line, users[line.id], evidence) for chain in chains for line in chain.lines]


def bill(keys: Iterable[str], *, naive: int, evidence: Evidence) -> Bill:
    """The sum over distinct stages."""
    keys = list(keys)
    tries = [attempt for key in keys for attempt in evidence.attempts.get(key, ())]
    cpu = sum(evidence.stages[key].result.cpu_seconds for key in keys if key in evidence.stages)
    return Bill(
        naive=naive,
        distinct=len(keys),
        there=sum(key in evidence.stages for key in keys),
        cpu_hours=cpu / 3600,
        gpu_hours=sum(attempt.gpu_seconds for attempt in tries) / 3600,
        lost_seconds=sum(map(lost_seconds, tries)),
        attempts=len(tries),
    )


def lost_seconds(attempt: Attempt) -> float:
    """Seconds of an attempt that came to nothing: those of the epochs that it began and did not finish."""
    match attempt.state:
        case AttemptState.FAILED | AttemptState.LOST:
            begun = max(attempt.epochs_started, 1)
            return attempt.seconds * max(begun - attempt.epochs_finished, 0) / begun
        case AttemptState.PLANNED | AttemptState.RUNNING | AttemptState.DONE | AttemptState.PRUNED:
            return 0.0


def cost_sheet(rows: Sequence[CostRow]) -> Sheet:
    """Every figure with every digit."""
    texts = ("id", "variant", "grade", "latency_device", "shared_with")
    return sheet("cost", COLUMNS, map(_wide, rows), texts=texts, caption=CAPTION)


def cost_shown(rows: Sequence[CostRow]) -> Sheet:
    """The same for reading."""
    return sheet(
        "cost",
        SHOWN,
        map(_shown, rows),
        texts=("variant", "grade", "shared with"),
        optional=SHOWN[4:],
        caption=CAPTION,
    )


def _row(line: Line, users: Sequence[str], evidence: Evidence) -> CostRow:
    stages = [evidence.stages[key] for key in line.keys.values() if key in evidence.stages]
    tries = [attempt for key in line.keys.values() for attempt in evidence.attempts.get(key, ())]
    costs = [stage.costs for stage in stages if stage.costs is not None]
    peaks = [cost.peak_memory_bytes for cost in costs] + [attempt.peak_memory_bytes for attempt in tries]
    devices = sorted({cost.device for cost in costs if cost.device})
    return CostRow(
        line=line,
        stages=len(stages),
        seconds=_mean([stage.result.seconds for stage in stages]),
        cpu_hours=sum(stage.result.cpu_seconds for stage in stages) / 3600 if stages else None,
        gpu_hours=sum(attempt.gpu_seconds for attempt in tries) / 3600 if tries else None,
        peak_memory_bytes=_largest(peaks),
        gpu_memory_bytes=_largest([cost.gpu_memory_bytes for cost in costs]),
        latency_ms=tuple(_mean([c.latency_ms[batch] for c in costs if batch in c.latency_ms]) for batch in BATCHES),
        latency_device=", ".join(devices) or None,
        attempts=len(tries) or None,
        lost_seconds=sum(map(lost_seconds, tries)) if tries else None,
        shared_with=tuple(user for user in users if user != line.variant),
    )


def _wide(row: CostRow) -> dict[str, Cell]:
    return {
        "id": row.line.id,
        "variant": row.line.variant,
        "grade": row.line.grade,
        "layers": row.line.layers,
        "stages": row.stages,
        "seconds": row.seconds,
        "cpu_hours": row.cpu_hours,
        "gpu_hours": row.gpu_hours,
        "peak_memory_bytes": row.peak_memory_bytes,
        "gpu_memory_bytes": row.gpu_memory_bytes,
        **{f"latency_ms_{batch}": ms for batch, ms in zip(BATCHES, row.latency_ms, strict=True)},
        "latency_device": row.latency_device,
        "attempts": row.attempts,
        "lost_seconds": row.lost_seconds,
        "shared_with": " ".join(row.shared_with),
    }


def _shown(row: CostRow) -> dict[str, Cell]:
    return {
        "variant": row.line.variant,
        "grade": grade_text(row.line),
        "seconds": number(row.seconds, 0),
        "CPU-hours": number(row.cpu_hours, 2),
        "GPU-hours": number(row.gpu_hours, 2) if row.gpu_hours else "",
        "memory": size(row.peak_memory_bytes),
        "GPU memory": size(row.gpu_memory_bytes),
        **{
            f"ms, batch {batch}": number(ms, 1 if ms and ms < 100 else 0)
            for batch, ms in zip(BATCHES, row.latency_ms, strict=True)
        },
        "attempts": "" if row.attempts is None else str(row.attempts),
        "lost s": number(row.lost_seconds, 0) if row.lost_seconds else "",
        "shared with": ", ".join(row.shared_with),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
