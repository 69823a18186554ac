"""What a search reads of a stored stage, all of the validation split: its epochs, its value and how sure that is."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pmd_ray.spec.attempt import Manifest
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import GradeResult, Metrics
from pmd_ray.spec.study import Metric
from pmd_ray.train.epochs_file import EPOCHS, EpochValues, parse_epochs

RESULT, RANKS, COSTS = "result.json", "valid_ranks.parquet", "costs.json"
ONE_QUERY = "1"
"""Batch of which the latency is taken, as `costs.json` names it."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The validation of one epoch."""

    number: int
    """From 1."""
    value: float
    rr: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoredGrade:
    """A stage that is done."""

    value: float
    """Of the model that it keeps."""
    rr: tuple[float, ...]
    """Of that model; empty where its epochs are not known."""
    epochs: tuple[Epoch, ...]
    """In order; empty for artifacts of earlier versions."""
    parameters: int
    seconds: float
    """CPU-seconds of its training; seconds on GPUs."""


@dataclass(frozen=True, kw_only=True)
class LastGrade:
    """What is told of a chain's last grade alone."""

    standard_error: float | None
    latency_ms: float | None


class Files(Protocol):
    """What is asked of the store."""

    def manifest(self, key: str) -> Manifest | None:
        """What an artifact consists of."""

    def open_file(self, key: str, name: str) -> bytes:
        """One of its files."""

    def work(self, key: str) -> Path:
        """Where it is trained."""


class Results:
    """The results of stages as a search sees them.

    Args:
        store: Where they lie.
        metric: What a search maximises.
        device: `cpu` or `cuda`: whose seconds count.
    """

    def __init__(self, store: Files, *, metric: Metric, device: str) -> None:
        self._store, self._metric, self._device = store, metric, device

    def grade(self, key: str) -> StoredGrade:
        """A stored stage.

        Raises:
            ArtifactBroken: it is not there, or not as it was published.
            UserError: a file of it cannot be read, or it was trained without a validation split.
        """
        try:
            result = GradeResult.model_validate_json(self._store.open_file(key, RESULT))
        except ValueError:
            raise UserError(
                f"{RESULT} of stage {key[:12]} is not readable; was it trained by another version?"
            ) from None
        if result.valid is None:
            raise UserError(
                f"stage {key[:12]} has no validation result, and a search knows no other; give a valid split"
            )
        values = parse_epochs(self._store.open_file(key, EPOCHS), source=EPOCHS) if self._has(key, EPOCHS) else ()
        return StoredGrade(
            value=metric_of(result.valid.all, self._metric),
            rr=next((epoch.rr for epoch in values if epoch.epoch == result.best_epoch), ()),
            epochs=tuple(self._epoch(epoch) for epoch in values),
            parameters=result.parameters,
            seconds=result.seconds if self._device == "cuda" else result.cpu_seconds,
        )

    def last(self, key: str) -> LastGrade:
        """What is told of a chain's last grade alone; None for what its artifact lacks.

        Raises:
            ArtifactBroken: the artifact is not as it was published.
        """
        error = latency = None
        if self._has(key, RANKS):
            table = pq.read_table(io.BytesIO(self._store.open_file(key, RANKS)), columns=["rank"])
            # Rows 2i and 2i + 1 are the two directions of triple i.
            error = standard_error(table["rank"].to_numpy().reshape(-1, 2), self._metric)
        if self._has(key, COSTS):
            latency = json.loads(self._store.open_file(key, COSTS))["latency_ms"].get(ONE_QUERY)
        return LastGrade(standard_error=error, latency_ms=latency)

    def kept(self, key: str) -> tuple[Epoch, ...]:
        """The epochs in the checkpoint of a stage that is trained; empty where there is none on this machine."""
        from pmd_ray.train.checkpoint import read_progress

        with contextlib.suppress(OSError):  # the checkpoint was replaced by the next one meanwhile
            for folder in self._store.work(key).glob(".*.training"):
                progress = read_progress(folder, key)
                if progress is not None:
                    return tuple(self._epoch(EpochValues.model_validate(epoch)) for epoch in progress.epochs)
        return ()

    def heard(self, number: int, metrics: Metrics | None, rr: tuple[float, ...]) -> Epoch | None:
        """An epoch of which an event tells; None where it tells no metrics."""
        return None if metrics is None else Epoch(number=number, value=metric_of(metrics, self._metric), rr=rr)

    def _epoch(self, values: EpochValues) -> Epoch:
        return Epoch(number=values.epoch, value=metric_of(values.metrics, self._metric), rr=values.rr)

    def _has(self, key: str, name: str) -> bool:
        manifest = self._store.manifest(key)
        return manifest is not None and any(entry.path == name for entry in manifest.files)


def metric_of(metrics: Metrics, name: Metric) -> float:
    """One metric by its name in tables."""
    return float(metrics.model_dump(by_alias=True)[name])


def standard_error(ranks_T2: NDArray[np.float64], metric: Metric) -> float | None:
    """Of a metric's mean over triples [T], both directions of one together; None for fewer than two triples."""
    if len(ranks_T2) < 2:
        return None
    values_T2 = 1.0 / ranks_T2 if metric == "mrr" else (ranks_T2 <= int(metric.removeprefix("hits@"))).astype(float)
    return float(values_T2.mean(axis=1).std(ddof=1) / np.sqrt(len(ranks_T2)))
