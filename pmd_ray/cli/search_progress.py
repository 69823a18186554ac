"""Shows what a search tells while it runs: its trials with what was tried and what came of it, its stages beneath."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pmd_ray.cli.output import visible
from pmd_ray.cli.study_progress import StageBars, StageLines, bars_on_terminal
from pmd_ray.run.search.events import RoundBegun, SearchEvent, SearchListener, TrialAsked, TrialTold
from pmd_ray.run.study_events import StageStored, StudyEvent, StudyListener
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState

if TYPE_CHECKING:
    from rich.progress import Progress

OUTSIDE = ", not in the space"


@contextmanager
def search_told(record: SearchRecord) -> Iterator[tuple[SearchListener, StudyListener]]:
    """Listeners for trials and for stages, on standard error."""
    names: dict[str, str] = {}
    with bars_on_terminal() as bars:
        trials = _Trials(record, names, bars)
        if bars is None:
            yield trials, StageLines(names, total=None, stored=0)
        else:
            yield trials, _Stages(bars, names, trials)


def point_in_words(trial: TrialRecord) -> str:
    """What was tried: layers, mask rates, weights where they were drawn, and the rest."""
    masks = "/".join(f"{100 * rate:g}" for rate in trial.mask_rates)
    shown = [f"layers {'-'.join(map(str, trial.layers))}", f"masks {masks} %"]
    own = ("layers", "mask", "mask_rates")
    rest = {key: value for key, value in trial.settings.items() if key.partition(".")[0] not in own}
    shown += [f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in rest.items()]
    return ", ".join(shown)


class _Trials:
    """Names stages by the first trial that asks for them, and says how trials start and end."""

    def __init__(self, record: SearchRecord, names: dict[str, str], bars: Progress | None) -> None:
        self._names, self._bars = names, bars
        self._metric = record.search.metric.replace("mrr", "MRR").replace("hits", "Hits")
        done = [trial for trial in record.trials if trial.state is TrialState.DONE]
        self._best = max((trial.value or 0.0 for trial in done), default=None)
        self.ended = sum(trial.told is not None for trial in record.trials)
        self.total: int | None = None
        self.task = None if bars is None else bars.add_task("trials", total=None, completed=self.ended, note="")

    def __call__(self, event: SearchEvent) -> None:
        match event:
            case RoundBegun():
                self.total = event.trials
                self._say(event.name if event.trials is None else f"{event.name}: at most {event.trials} trials")
            case TrialAsked(trial=trial):
                for stage in trial.stages:
                    self._names.setdefault(stage.key, visible(f"trial {trial.number} / {stage.grade}"))
                origin = "" if trial.origin == "sampled" else f" ({trial.origin}{'' if trial.inside else OUTSIDE})"
                self._say(f"trial {trial.number}{origin}: {point_in_words(trial)}")
            case TrialTold(trial=trial):
                self.ended += 1
                self._say(f"trial {trial.number}: {self._end(trial)}")
        if self._bars is not None and self.task is not None:
            best = "" if self._best is None else f"best validation {self._metric} {self._best:.3f}"
            self._bars.update(self.task, completed=self.ended, note=best)

    def _end(self, trial: TrialRecord) -> str:
        match trial.state:
            case TrialState.DONE:
                better = self._best is None or (trial.value or 0.0) > self._best
                self._best = trial.value if better else self._best
                error = f" ± {trial.standard_error:.3f}" if trial.standard_error is not None else ""
                return f"validation {self._metric} {trial.value:.3f}{error}{', the best so far' if better else ''}"
            case TrialState.PRUNED:
                return f"ended early: {trial.reason}"
            case _:
                return f"failed: {trial.reason}"

    def _say(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(visible(text), markup=False, highlight=False)
        else:
            print(visible(text), file=sys.stderr, flush=True)


class _Stages(StageBars):
    """A bar for each stage that runs; the bar of all is that of the trials."""

    def __init__(self, bars: Progress, names: dict[str, str], trials: _Trials) -> None:
        super().__init__(bars, names, total=None, stored=0, of="stages trained")
        self._trials = trials

    def __call__(self, event: StudyEvent) -> None:
        if isinstance(event, StageStored) and not event.trained:
            self._end(event.key)  # it cost nothing
            return
        super().__call__(event)
