"""Shows a study's training: a bar for all stages and one for each that runs; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pmd_ray.cli.output import visible, warn
from pmd_ray.plan.tree import StageTree
from pmd_ray.run.study_events import (
    ArtifactSetAside,
    StageBegun,
    StageElsewhere,
    StageEvent,
    StageStored,
    StageTroubled,
    StudyEvent,
    StudyListener,
)
from pmd_ray.train.events import EpochDone, GradeDone, GradeStarted, StepDone, StepKept

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_S = 20.0


@contextmanager
def study_told(tree: StageTree, cost: Mapping[str, float], *, stored: int) -> Iterator[StudyListener]:
    """A listener that shows what a study tells, on standard error.

    Args:
        cost: Estimated seconds of each stage: the bar of all stages moves by them.
        stored: Stages that need no training.
    """
    names = stage_names(tree)
    with bars_on_terminal() as bars:
        if bars is None:
            yield StageLines(names, total=tree.distinct, stored=stored)
        else:
            yield StageBars(bars, names, total=tree.distinct, stored=stored)


@contextmanager
def bars_on_terminal() -> Iterator[Progress | None]:
    """Bars with counts, times and a note on standard error; None where that is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_interactive:
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as bars:
        yield bars


def stage_names(tree: StageTree) -> dict[str, str]:
    """What people call a stage: the first variant that asks for it, its grade, its seed."""
    names = {}
    for key, stage in tree.stages.items():
        first = stage.uses[0]
        more = len({(use.variant, use.arm) for use in stage.uses}) - 1
        shared = f" +{more}" if more else ""
        arm = f" {first.arm}" if first.arm else ""
        names[key] = visible(f"{first.variant}{arm}{shared} / {first.grade} / seed {first.seed}")
    return names


def _aloud(event: StudyEvent, names: Mapping[str, str]) -> bool:
    """Say what must not be missed, whatever shows the rest; whether it was said."""
    match event:
        case StageTroubled():
            warn(f"{names[event.key]}: {event.message} ({event.kind.value}); {event.then}")
        case ArtifactSetAside():
            warn(f"{names[event.key]}: set aside, its artifact is broken ({event.reason}); it is trained again")
        case _:
            return False
    return True


class StageBars:
    """A bar for all stages, and one for each that runs."""

    def __init__(
        self, bars: Progress, names: Mapping[str, str], *, total: int | None, stored: int, of: str = "stages"
    ) -> None:
        self._bars, self._names = bars, names
        self._all = bars.add_task(of, total=total, completed=stored, note="")
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: StudyEvent) -> None:
        match event:
            case StageBegun() | StageElsewhere():
                self._end(event.key)
                note = "starting" if isinstance(event, StageBegun) else "trained by another run"
                self._tasks[event.key] = self._bars.add_task(f"  {self._names[event.key]}", total=None, note=note)
            case StageStored():
                self._end(event.key)
                self._bars.advance(self._all)
            case StageEvent() if event.key in self._tasks:
                self._show(event)
            case StageTroubled() | ArtifactSetAside():
                self._end(event.key)
                with_bars_aside(self._bars, event, self._names)
            case _:
                pass

    def _show(self, event: StageEvent) -> None:
        task = self._tasks[event.key]
        match event.event:
            case GradeStarted() as started:
                self._bars.update(task, total=started.steps, completed=started.done, note="")
            case StepDone() as step:
                self._bars.update(task, completed=step.done, note=f"loss {step.loss:.3f}")
            case EpochDone() as epoch:
                self._bars.update(
                    task, note=f"epoch {epoch.epoch}/{epoch.epochs}, validation MRR {epoch.valid_mrr:.3f}"
                )
            case StepKept() as kept:
                self._bars.update(task, note=kept.text)
            case GradeDone() as done:
                self._bars.update(task, note="" if done.mrr is None else f"test MRR {done.mrr:.3f}")
            case _:
                pass

    def _end(self, key: str) -> None:
        if key in self._tasks:
            self._bars.remove_task(self._tasks.pop(key))


def with_bars_aside(bars: Progress, event: StudyEvent, names: Mapping[str, str]) -> None:
    """Print a warning above the bars."""
    bars.stop()
    try:
        _aloud(event, names)
    finally:
        bars.start()


class StageLines:
    """A line now and then."""

    def __init__(self, names: Mapping[str, str], *, total: int | None, stored: int) -> None:
        self._names, self._total, self._done = names, total, stored
        self._last: dict[str, float] = {}
        self._begun: dict[str, float] = {}

    def __call__(self, event: StudyEvent) -> None:
        if _aloud(event, self._names):
            return
        match event:
            case StageBegun():
                self._begun[event.key] = self._last[event.key] = time.monotonic()
            case StageElsewhere():
                self._say(event.key, "another run trains it; waiting for that")
            case StageStored():
                self._done += 1
                spent = time.monotonic() - self._begun.get(event.key, time.monotonic())
                how = f"trained in {spent:.0f} s" if event.trained else "stored"
                of = f" ({self._done} of {self._total} stages)" if self._total is not None else ""
                self._say(event.key, f"{how}{of}")
            case StageEvent(event=StepDone() as step) if (
                time.monotonic() - self._last.get(event.key, 0.0) > LINE_EVERY_S
            ):
                self._say(event.key, f"step {step.done}, loss {step.loss:.3f}")
            case StageEvent(event=EpochDone() as epoch):
                self._say(event.key, f"epoch {epoch.epoch}/{epoch.epochs}, validation MRR {epoch.valid_mrr:.3f}")
            case StageEvent(event=StepKept() as kept):
                self._say(event.key, kept.text)
            case _:
                pass

    def _silent_s(self, key: str) -> float:
        return time.monotonic() - self._last.get(key, 0.0)

    def _say(self, key: str, text: str) -> None:
        self._last[key] = time.monotonic()
        print(f"{self._names[key]}: {text}", file=sys.stderr, flush=True)
