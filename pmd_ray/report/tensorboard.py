"""TensorBoard: the event files of all stages side by side by variant and seed, with the HPARAMS tab filled.

The folder is made anew from the artifacts each time: what is stale goes, nothing is there twice.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pmd_ray.report.folder import aside, remove_others, write_bytes
from pmd_ray.report.hparams import Session, session_events
from pmd_ray.report.lines import Chain
from pmd_ray.report.settings import Value
from pmd_ray.spec.keys import digest

PREFIX = "events.out.tfevents."
SUMMARY_FILE = f"{PREFIX}0000000000.hparams"
"""Always the same name: a second report replaces the first one's."""
Events = Callable[[str], Iterable[tuple[str, Path | bytes]]]
"""By stage key: name and content (or place) of each event file."""


@dataclass(frozen=True, kw_only=True)
class BoardRun:
    """One chain with one seed as TensorBoard shows it."""

    folder: str
    """Below `tensorboard/`, such as `no_mgfd/seed-1`."""
    curves: tuple[tuple[str, str], ...]
    """Name of the grade and key of its stage."""
    session: Session


def board_runs(
    chains: Sequence[Chain],
    *,
    settings: Mapping[tuple[str, str], Mapping[str, Value]],
    metrics: Mapping[str, Mapping[str, float]],
    there: Container[str],
) -> list[BoardRun]:
    """Every chain and seed that has at least one artifact.

    Args:
        settings: By variant and arm, the settings in which chains differ.
        metrics: By stage key, the metrics of the last grade of a chain.
        there: Keys of the stages whose artifact is there.
    """
    runs = []
    for chain in chains:
        name = f"{chain.variant},{chain.arm}" if chain.arm else chain.variant
        for seed, last in chain.last.keys.items():
            curves = [(line.grade, line.keys[seed]) for line in chain.lines if line.keys[seed] in there]
            if not curves:
                continue
            asked: dict[str, Value] = {"variant": chain.variant, "seed": float(seed)}
            session = Session(
                settings={**asked, **settings[chain.variant, chain.arm]},
                metrics=metrics.get(last, {}),
                complete=seed in chain.seeds,
            )
            runs.append(BoardRun(folder=f"{folder_name(name)}/seed-{seed}", curves=tuple(curves), session=session))
    return runs


def lay_out(out: Path, runs: Sequence[BoardRun], events: Events, *, created: float) -> list[Path]:
    """Write `out`: hard links to event files where the disk allows, else copies, and one summary run a chain and seed.

    Args:
        events: Gives the event files of a stage by its key.
        created: When the study was started, in seconds since 1970: the time that TensorBoard shows for the summaries.

    Returns:
        The files.

    Raises:
        StorageError: The disk refuses.
    """
    kept: set[Path] = set()
    sessions = [run.session for run in runs]
    for run in runs:
        for grade, key in run.curves:
            for name, file in events(key):
                kept.add(place := out / run.folder / grade / name)
                write_bytes(place, file) if isinstance(file, bytes) else link_or_copy(file, place)
        kept.add(place := out / run.folder / SUMMARY_FILE)
        write_bytes(place, session_events(run.session, sessions, created=created))
    remove_others(out, kept, ours=lambda path: path.name.lstrip(".").startswith(PREFIX))
    return sorted(kept)


def link_or_copy(source: Path, place: Path) -> None:
    """A second name of a file, or a copy where the disk has no second names; StorageError where it refuses both."""
    if place.is_file() and (place.samefile(source) or filecmp.cmp(source, place, shallow=False)):
        return
    with aside(place) as beside:
        try:
            os.link(source, beside)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(source, beside)


def folder_name(text: str) -> str:
    """A name as a folder's: itself where that is safe, else shortened and told apart by a digest."""
    safe = re.sub(r"[^A-Za-z0-9_.=,+-]", "_", text)
    return text if safe == text and len(text) <= 120 else f"{safe[:100]}-{digest(text)[:6]}"
