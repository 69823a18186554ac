"""Progress on standard error: bars with rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from pmd_ray.cli.output import visible

Tell = Callable[[str, int, int | None], None]
"""Called with what is under way, how much is done, and how much there is in all (None where unknown)."""
Unit = Literal["bytes", "steps"]


@contextmanager
def progress(*, unit: Unit = "steps", every: float = 10.0) -> Iterator[Tell]:
    """Give a function that shows progress; `every`: seconds between lines of one task where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_interactive:
        with _bars(console, unit) as tell:
            yield tell
    else:
        lines = Lines(unit=unit, every=every)
        yield lines.tell
        lines.finish()


@dataclass(kw_only=True)
class _Task:
    """One task of `Lines`: where it began, what was last told."""

    began: float
    first: int
    """What was done before we looked: a resumed download counts what comes anew."""
    told_at: float
    done: int = 0
    total: int | None = None
    told: bool = False


@dataclass(kw_only=True)
class Lines:
    """Progress as plain lines: each task at its end, and every `every` seconds before."""

    unit: Unit
    every: float
    clock: Callable[[], float] = time.monotonic
    tasks: dict[str, _Task] = field(default_factory=dict)

    def tell(self, label: str, done: int, total: int | None) -> None:
        now = self.clock()
        task = self.tasks.setdefault(label, _Task(began=now, first=done, told_at=now))
        task.done, task.total, task.told = done, total, False
        if done == total or now - task.told_at >= self.every:
            self._print(label, task, now)

    def finish(self) -> None:
        """Print the last word of tasks that have not had it."""
        for label, task in self.tasks.items():
            if not task.told:
                self._print(label, task, self.clock())

    def _print(self, label: str, task: _Task, now: float) -> None:
        rate = (task.done - task.first) / (now - task.began) if now > task.began else 0.0
        parts = [self._amount(task.done) + (f" of {self._amount(task.total)}" if task.total is not None else "")]
        if rate > 0:
            parts.append(f"{self._amount(rate)}/s")
            if task.total is not None and task.done < task.total:
                parts.append(f"{(task.total - task.done) / rate:,.0f} s left")
        print(f"{visible(label)}: {', '.join(parts)}", file=sys.stderr, flush=True)
        task.told_at, task.told = now, True

    def _amount(self, count: float) -> str:
        if self.unit == "steps":
            return f"{count:,}" if isinstance(count, int) else f"{count:,.1f}"
        return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


@contextmanager
def _bars(console: object, unit: Unit) -> Iterator[Tell]:
    from rich import progress as rich_progress
    from rich.text import Text

    class Rate(rich_progress.ProgressColumn):
        def render(self, task: rich_progress.Task) -> Text:
            return Text(f"{task.speed:,.1f}/s" if task.speed else "", style="progress.data.speed")

    amounts = (
        [rich_progress.DownloadColumn(), rich_progress.TransferSpeedColumn()]
        if unit == "bytes"
        else [rich_progress.MofNCompleteColumn(), Rate()]
    )
    columns = [
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        *amounts,
        rich_progress.TimeRemainingColumn(),
    ]
    with rich_progress.Progress(*columns, console=console) as bars:  # type: ignore[arg-type]
        tasks: dict[str, rich_progress.TaskID] = {}

        def tell(label: str, done: int, total: int | None) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(visible(label), total=total, completed=done)
            bars.update(tasks[label], completed=done, total=total)

        yield tell
