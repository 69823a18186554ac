"""A grade's validation epoch by epoch, kept with its artifact: a stage that is trained can be looked back at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pmd_ray.spec.base import Frozen
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import Metrics

EPOCHS = "epochs.json"
"""Its name within an artifact; those of earlier versions have none."""


class EpochValues(Frozen):
    """What an epoch's validation found."""

    epoch: int
    """From 1."""
    metrics: Metrics
    """Over both directions."""
    rr: tuple[float, ...] = ()
    """Reciprocal ranks of a fixed sample of triples (`evaluate.Ranked.reciprocal_ranks`)."""


_ALL = TypeAdapter(tuple[EpochValues, ...])


def write_epochs(path: Path, epochs: Sequence[Mapping[str, Any]]) -> None:
    """One line an epoch, in order: `EpochValues` in JSON, as a checkpoint has them."""
    lines = [json.dumps(epoch) for epoch in epochs]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read_epochs(path: Path) -> tuple[EpochValues, ...]:
    """What `write_epochs` wrote; empty where there is no such file.

    Raises:
        UserError: It cannot be read.
    """
    if not path.is_file():
        return ()
    return parse_epochs(path.read_bytes(), source=str(path))


def parse_epochs(text: str | bytes, *, source: str) -> tuple[EpochValues, ...]:
    """The epochs in a file's text, which lies at `source`.

    Raises:
        UserError: They are not what `write_epochs` writes.
    """
    try:
        return _ALL.validate_json(text)
    except ValidationError as error:
        wrong = f"{source} is not readable ({error.error_count()} errors): it was cut or written over"
        raise UserError(f"{wrong}; `pmd store verify` names what is broken") from None
