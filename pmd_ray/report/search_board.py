"""TensorBoard runs of a search: each trial's value by epoch and by grade, and HPARAMS with all its metrics."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pmd_ray.report.folder import remove_others, write_bytes
from pmd_ray.report.hparams import Session, session_events
from pmd_ray.report.search_ranges import is_number
from pmd_ray.report.search_trials import params_of
from pmd_ray.report.settings import Value, one_value
from pmd_ray.report.tensorboard import PREFIX, SUMMARY_FILE, folder_name
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState

SCALARS_FILE = f"{PREFIX}0000000000.trial"
"""Always the same name: a second report replaces the first one's."""
BY_EPOCH, BY_GRADE = "trial/by_epoch", "trial/by_grade"


def lay_out_trials(record: SearchRecord, out: Path) -> list[Path]:
    """Write `out/trials/NNNN-origin` for every trial; what an earlier report left there goes.

    Raises:
        StorageError: The disk refuses.
    """
    created = datetime.fromisoformat(record.created).timestamp()
    sessions = trial_sessions(record)
    kept: set[Path] = set()
    for trial, session in zip(record.trials, sessions, strict=True):
        folder = out / "trials" / folder_name(f"{trial.number:04d}-{trial.origin}")
        kept |= {folder / SUMMARY_FILE, folder / SCALARS_FILE}
        write_bytes(folder / SUMMARY_FILE, session_events(session, sessions, created=created))
        write_bytes(folder / SCALARS_FILE, scalar_events(trial, created=created))
    remove_others(out / "trials", kept, ours=lambda path: path.name.lstrip(".").startswith(PREFIX))
    return sorted(kept)


def trial_sessions(record: SearchRecord) -> list[Session]:
    """One row of HPARAMS for each trial: what it drew and what it is, with every metric that it has."""
    settings = [_settings(trial) for trial in record.trials]
    names = dict.fromkeys(name for row in settings for name in row)
    kinds = {name: {type(row[name]) for row in settings if row.get(name) is not None} for name in names}
    return [
        Session(
            settings={name: str(value) if len(kinds[name]) > 1 else value for name, value in row.items()},
            metrics=trial_metrics(trial, record.search.metric),
            complete=trial.state is TrialState.DONE,
        )
        for trial, row in zip(record.trials, settings, strict=True)
    ]


def trial_metrics(trial: TrialRecord, metric: str) -> dict[str, float]:
    """Every metric that a trial has, by tag."""
    found: Mapping[str, float | None] = {
        f"valid/{metric}": trial.value,
        "valid/standard_error": trial.standard_error,
        "cost/parameters": trial.parameters,
        "cost/latency_ms": trial.latency_ms,
        "cost/seconds": trial.seconds,
    }
    return {tag: float(value) for tag, value in found.items() if value is not None}


def scalar_events(trial: TrialRecord, *, created: float) -> bytes:
    """An event file: the value after each epoch of the chain, and after each grade."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    ended = [report for report in trial.reports if report.grade_done]
    points: Sequence[tuple[str, int, float]] = [
        *((BY_EPOCH, report.epoch, report.value) for report in trial.reports),
        *((BY_GRADE, place, report.value) for place, report in enumerate(ended, 1)),
    ]
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=created, file_version="brain.Event:2").SerializeToString())
    for tag, step, value in points:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.write(Event(wall_time=created, step=step, summary=summary).SerializeToString(deterministic=True))
    return buffer.getvalue()


def _settings(trial: TrialRecord) -> dict[str, Value]:
    told: dict[str, Value] = {
        "round": trial.round,
        "origin": trial.origin,
        "state": trial.state.value,
        "layers": "-".join(map(str, trial.layers)),
        "mask_rates": one_value(trial.mask_rates),
        "alphas": one_value(trial.alphas),
        "betas": one_value(trial.betas),
    }
    drawn = {name: value for name, value in params_of(trial).items() if name not in told}
    return told | {name: float(value) if is_number(value) else one_value(value) for name, value in drawn.items()}
