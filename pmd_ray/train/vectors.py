"""Tables of vectors: in memory, or, where they would fill it, in a file without a name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pmd_ray.spec.chunks import TABLE_BYTES, table_bytes
from pmd_ray.spec.disk import storing
from pmd_ray.train.workers import Workers

PLACES = ("/var/tmp",)
"""Where large temporary files belong: `/tmp` is memory on many machines."""


def empty_table(count: int, width: int, workers: Workers) -> Tensor:
    """[count, D] fp32, not filled.

    A single CPU worker keeps a table of more than `chunks.TABLE_BYTES` in a file (TMPDIR says where); what is resident
    of it, the system may take back.

    Raises:
        StorageError: no room for the file.
    """
    if not lies_in_file(count, width, workers):
        return torch.empty(count, width, device=workers.device)
    place = _place()
    with storing(place), tempfile.TemporaryFile(prefix="pmd-vectors-", dir=place) as file:
        if hasattr(os, "posix_fallocate"):  # a full disk says so here, and not with a signal when a page is written
            os.posix_fallocate(file.fileno(), 0, table_bytes(count, width))
        else:
            file.truncate(table_bytes(count, width))
        return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="r+", shape=(count, width)))


def lies_in_file(count: int, width: int, workers: Workers) -> bool:
    """Whether a table of that size does."""
    return workers.size == 1 and workers.device.type == "cpu" and table_bytes(count, width) > TABLE_BYTES


def _place() -> Path:
    if "TMPDIR" not in os.environ:
        for place in PLACES:
            if os.access(place, os.W_OK):
                return Path(place)
    return Path(tempfile.gettempdir())
