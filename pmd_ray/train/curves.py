"""TensorBoard curves of a grade, keyed by step, so that a resumed run overwrites what it repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pmd_ray.train.step import StepLog


class Curves:
    """Writes the curves of the worker that leads; the others write nothing."""

    def __init__(self, folder: Path | None, *, from_step: int) -> None:
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder.resolve()), purge_step=from_step)

    def step(self, number: int, log: StepLog, *, tokens_per_second: float) -> None:
        """The curves of one update."""
        if self._writer is None:
            return
        values = {
            "loss/total": log.loss,
            **{f"loss/{name}": value for name, value in log.parts.items()},
            **{f"gradient/{name}": value for name, value in log.part_gradients.items()},
            "gradient/total": log.gradient,
            "train/learning_rate": log.learning_rate,
            "train/temperature": log.temperature,
            "train/tokens_per_second": tokens_per_second,
        }
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, number)

    def validation(self, number: int, mrr: float) -> None:
        """Validation MRR after an epoch, at its last step."""
        if self._writer is not None:
            self._writer.add_scalar("valid/mrr", mrr, number)
            self._writer.flush()

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()
