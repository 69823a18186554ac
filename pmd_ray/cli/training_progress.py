"""Shows a chain's training: a bar for each grade with rate and time left; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pmd_ray.cli.output import visible
from pmd_ray.train.events import (
    ChainPlanned,
    EpochDone,
    Event,
    GradeDone,
    GradeStarted,
    Listener,
    StepDone,
    StepKept,
    TextsEncoded,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


LINE_EVERY_S = 15.0


@contextmanager
def told() -> Iterator[Listener]:
    """A listener that shows what a chain's training tells, on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_interactive:
        yield _Lines()
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
        yield _Bars(bars)


class _Bars:
    """A bar for each grade, and one below for texts that are being encoded."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._grades: dict[str, TaskID] = {}
        self._encoding: TaskID | None = None

    def __call__(self, event: Event) -> None:
        name = visible(event.grade)
        match event:
            case ChainPlanned():
                self._bars.console.print(_plan_note(event), markup=False, highlight=False)
            case GradeStarted():
                self._grades[name] = self._bars.add_task(
                    f"{name:>10}", total=event.steps, completed=event.done, note=""
                )
            case StepDone():
                self._end_encoding()
                note = f"loss {event.loss:.3f}  {_speed(event)}"
                self._bars.update(self._grades[name], completed=event.done, note=note)
            case TextsEncoded():
                self._encode(event)
            case EpochDone():
                self._end_encoding()
                self._bars.update(self._grades[name], note=_epoch_note(event))
            case StepKept():
                self._bars.update(self._grades[name], note=event.text)
            case GradeDone():
                self._end_encoding()
                note = _done_note(event)
                if name in self._grades:
                    self._bars.update(self._grades[name], note=note)
                else:
                    self._bars.add_task(f"{name:>10}", total=1, completed=1, note=note)

    def _encode(self, event: TextsEncoded) -> None:
        label = f"{event.what + ' texts':>10}"
        if self._encoding is None:
            self._encoding = self._bars.add_task(label, total=event.total, note="")
        self._bars.update(self._encoding, description=label, total=event.total, completed=event.done)

    def _end_encoding(self) -> None:
        if self._encoding is not None:
            self._bars.remove_task(self._encoding)
            self._encoding = None


class _Lines:
    """A line at the start and end of a grade and an epoch, and now and then between."""

    def __init__(self) -> None:
        self._last = self._begun = time.monotonic()
        self._steps = self._first = 0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        line = None
        match event:
            case ChainPlanned():
                print(_plan_note(event), file=sys.stderr, flush=True)
            case GradeStarted():
                self._steps, self._first, self._begun = event.steps, event.done, now
                resumed = f", going on after step {event.done}" if event.done else ""
                line = f"{event.layers} layers, {event.parameters / 1e6:.1f}M parameters, {event.steps} steps{resumed}"
            case StepDone() if now - self._last > LINE_EVERY_S:
                share = max(1, event.done - self._first)
                left = (now - self._begun) / share * (self._steps - event.done)
                line = (
                    f"step {event.done}/{self._steps}, loss {event.loss:.3f}, {_speed(event)}, about {left:.0f} s left"
                )
            case TextsEncoded() if now - self._last > LINE_EVERY_S:
                line = f"{event.what}: {event.done}/{event.total} texts encoded"
            case EpochDone():
                line = _epoch_note(event)
            case StepKept():
                line = event.text
            case GradeDone():
                line = _done_note(event)
            case _:
                pass
        if line is not None:
            self._last = now
            print(f"{visible(event.grade)}: {line}", file=sys.stderr, flush=True)


def _plan_note(event: ChainPlanned) -> str:
    if not event.names:
        return "every grade is stored already"
    minutes = event.seconds / 60
    time_left = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{event.seconds:.0f} seconds"
    return f"{len(event.names)} trainings, about {time_left} on this machine: {', '.join(event.names)}"


def _epoch_note(event: EpochDone) -> str:
    best = " (best)" if event.best else ""
    return f"epoch {event.epoch}/{event.epochs}, validation MRR {event.valid_mrr:.3f}{best}"


def _speed(event: StepDone) -> str:
    return f"{event.tokens_per_second:,.0f} tokens/s, {event.utilisation:.0%} of a plain product's rate"


def _done_note(event: GradeDone) -> str:
    mrr = "" if event.mrr is None else f"test MRR {event.mrr:.3f}"
    return f"{mrr}, stored already" if event.reused else f"{mrr}, {event.seconds:.0f} s"
