"""A grade's checkpoints: safetensors for weights, `weights_only` for the optimiser, JSON for the rest.

A checkpoint is written aside and renamed: a killed run leaves whole ones only. The last one resumes the grade, the best
one is the student that it keeps.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.spec.disk import storing
from pmd_ray.train.step import EarlierTails
from pmd_ray.train.workers import Workers

MODEL, OPTIMISER = "model.safetensors", "optimiser.pt"
LAYOUT = 1
"""1: the optimiser knows the used words alone."""


@dataclass
class Progress:
    """How far a grade is."""

    key: str
    """The stage key: a checkpoint of another configuration is never resumed."""
    epoch: int = 0
    """Epochs done."""
    steps: int = 0
    """Updates done."""
    best_epoch: int = 0
    """From 1; 0 before the first validation."""
    best_mrr: float = -1.0
    valid_mrr: list[float] = field(default_factory=list)
    """After each epoch."""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """`EpochValues` of the validations, as in `epochs.json`; those before a checkpoint of an earlier version are
    missing."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    unmasked_texts: int = 0
    """Sequences of the feature loss without any masked token."""
    texts: int = 0
    """Sequences that it looked at."""
    midway: bool = False
    """Kept within an epoch, because the machine is about to go."""
    pending_decay: float = 1.0
    """`UsedWords.pending`."""
    layout: int = 0
    """Of the optimiser's state: one of another version is never resumed."""

    @property
    def words(self) -> str:
        """How far it is."""
        return f"step {self.steps}" if self.midway else f"epoch {self.epoch}"

    @property
    def name(self) -> str:
        """Of its checkpoint's folder: later ones sort behind earlier ones."""
        return f"epoch-{self.epoch:04d}" + (f"-step-{self.steps:09d}" if self.midway else "")


def save_checkpoint(
    folder: Path,
    progress: Progress,
    *,
    model: BiEncoder,
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    earlier: EarlierTails,
) -> None:
    """Write the progress's folder, then remove the older ones; StorageError where the disk refuses."""
    from safetensors.torch import save_file

    progress.layout = LAYOUT
    final = folder / progress.name
    for left in (
        *folder.glob(".epoch-*.aside"),
        *folder.glob(".epoch-*.old"),
    ):  # of killed attempts, whatever their step
        shutil.rmtree(left, ignore_errors=True)
    with whole_folder(final) as aside:
        save_file(model_tensors(model), aside / MODEL)
        rest = {
            "objective": objective.state_dict(),
            "optimiser": optimiser.state_dict(),
            "earlier": {"vectors": earlier.vectors, "entities": earlier.entities},
        }
        torch.save(rest, aside / OPTIMISER)
        (aside / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
    for old in _checkpoints(folder):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def resume(
    folder: Path,
    key: str,
    *,
    workers: Workers,
    model: BiEncoder,
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> tuple[Progress, EarlierTails] | None:
    """Load the last whole checkpoint of that stage key into the given objects; None where there is none.

    The leader reads and the others are sent what it read: they need not see its disk, nor see the same of it.
    """
    found = _last_checkpoint(folder, key) if workers.leads else None
    told = workers.shared(json.dumps(asdict(found[1])).encode() if found else b"")
    if not told:
        return None
    progress = Progress(**json.loads(told))
    place = folder / progress.name
    load_model_file(model, place / MODEL, workers)
    with workers.file(place / OPTIMISER) as path:
        rest: dict[str, Any] = torch.load(path, map_location=workers.device, weights_only=True)
    objective.load_state_dict(rest["objective"])
    peaks = [group["peak"] for group in optimiser.param_groups]
    optimiser.load_state_dict(rest["optimiser"])
    for group, peak in zip(optimiser.param_groups, peaks, strict=True):
        group["peak"] = peak
    return progress, EarlierTails(rest["earlier"]["vectors"], rest["earlier"]["entities"])


def read_progress(folder: Path, key: str) -> Progress | None:
    """How far a stage of that key has come; None where it has no checkpoint."""
    found = _last_checkpoint(folder, key)
    return None if found is None else found[1]


def model_tensors(model: BiEncoder) -> dict[str, torch.Tensor]:
    """The distinct weights of a bi-encoder by name, as safetensors wants them."""
    tensors = {"log_inverse_t": model.log_inverse_t.detach().clone()}
    for role, tower in model.towers.items():
        tensors |= {f"{role}.{name}": value.detach().contiguous() for name, value in tower.state_dict().items()}
    return tensors


def load_model_file(model: BiEncoder, path: Path, workers: Workers) -> None:
    """Put the weights of a file that the leader reads into every worker's model."""
    from safetensors.torch import load_file

    with workers.file(path) as found:
        load_tensors(model, load_file(found, device=str(workers.device)))


def load_tensors(model: BiEncoder, tensors: dict[str, torch.Tensor]) -> None:
    """Put `model_tensors` back."""
    with torch.no_grad():
        model.log_inverse_t.copy_(tensors["log_inverse_t"])
    for role, tower in model.towers.items():
        named = {name[len(role) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{role}.")}
        tower.load_state_dict(named)


def _last_checkpoint(folder: Path, key: str) -> tuple[Path, Progress] | None:
    """The last whole checkpoint of that stage key; None where there is none."""
    for place in reversed(_checkpoints(folder)):
        progress = Progress(**json.loads((place / "progress.json").read_text(encoding="utf-8")))
        if progress.key == key and progress.layout == LAYOUT:
            return place, progress
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(place for place in folder.glob("epoch-*") if (place / "progress.json").is_file())


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder that appears with all its files or not at all: `with whole_folder(final) as aside: ...`.

    An existing folder of that name is replaced.

    Raises:
        StorageError: the disk refuses; nothing is left behind.
    """
    aside = final.with_name(f".{final.name}.{os.getpid()}.aside")
    old = aside.with_suffix(".old")
    with storing(final):
        for left in final.parent.glob(f".{final.name}.*.aside"):
            shutil.rmtree(left, ignore_errors=True)
        try:
            aside.mkdir(parents=True)
            yield aside
            sync_tree(aside)
            if final.exists():
                final.rename(old)
            aside.rename(final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    for left in final.parent.glob(f".{final.name}.*.old"):
        shutil.rmtree(left, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Flush every file of a folder to the disk, so that a rename never shows an empty one after a power cut."""
    for place in [*folder.rglob("*"), folder]:
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
