"""TensorBoard curves of a grade, keyed by step, so that a resumed run overwrites what it repeats.

Event files are written in this thread: torch's SummaryWriter writes in one of its own, where a full disk prints a
traceback and the training goes on.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from pmd_ray.spec.disk import storing
from pmd_ray.train.step import StepLog


class Curves:
    """Writes the curves of the worker that leads; the others write nothing.

    Args:
        folder: None writes nothing.
        from_step: Updates done before; what an earlier attempt wrote of later ones is replaced.
    """

    def __init__(self, folder: Path | None, *, from_step: int) -> None:
        self._file: Any = None
        self.wanted = folder is not None
        """Whether anybody will see what is measured."""
        if folder is None:
            return
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        with storing(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("wb")
        self._add(file_version="brain.Event:2")
        # TensorBoard drops what an earlier attempt wrote for this step and later ones; updates count from 1.
        self._add(step=from_step + 1, session_log=SessionLog(status=SessionLog.START))

    def step(self, number: int, log: StepLog, *, tokens_per_second: float, utilisation: float) -> None:
        """The curves of one update."""
        values = {
            "loss/total": log.loss,
            **{f"loss/{name}": value for name, value in log.parts.items()},
            **{f"gradient/{name}": value for name, value in log.part_gradients.items()},
            "gradient/total": log.gradient,
            "train/learning_rate": log.learning_rate,
            "train/temperature": log.temperature,
            "train/tokens_per_second": tokens_per_second,
            "train/utilisation": utilisation,
        }
        if log.texts:
            values["train/unmasked_share"] = log.unmasked_texts / log.texts
        self._scalars(number, values)

    def validation(self, number: int, mrr: float) -> None:
        """Validation MRR after an epoch, at its last step."""
        self._scalars(number, {"valid/mrr": mrr})

    def flush(self) -> None:
        """Before a checkpoint: a killed training goes on behind it, and never writes these points again."""
        if self._file is not None:
            with storing(self._path):
                self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        if self._file is not None:
            with storing(self._path):
                self._file.close()

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        if self._file is None:
            return
        from tensorboard.compat.proto.summary_pb2 import Summary

        parts = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(step=step, summary=Summary(value=parts))

    def _add(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        with storing(self._path):
            RecordWriter(self._file).write(Event(wall_time=time.time(), **fields).SerializeToString())
