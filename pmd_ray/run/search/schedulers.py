"""Which trials end early: Tune's schedulers with reproducible brackets, memory of earlier runs, reasons in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.exceptions import RayActorError
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from pmd_ray.run.search.reports import TrialFailed
from pmd_ray.run.search.wilcoxon import PairedLooks
from pmd_ray.spec.search_record import TrialRecord, TrialState
from pmd_ray.spec.streams import generator

if TYPE_CHECKING:
    from pmd_ray.spec.search import StrategyConfig

METRIC, MODE = "value", "max"
KEPT = "kept"
"""Key in the config of a trial that runs to its end, whatever its values."""
LONGER_THAN_ANY = 1_000_000
"""Epochs: no trial ends because it has had them all."""
BRACKETS = {"asha": 1, "hyperband": 3}
BEST = {2: "half", 3: "third", 4: "quarter", 5: "fifth"}
WHERE = {"epoch": "epoch {}", "target_epoch": "epoch {} of the last grade"}


class Reasons(FIFOScheduler):  # type: ignore[misc]
    """Every trial to its end, and why those that did not come there did not."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._reasons: dict[int, str] = {}
        # Tune checks that reports carry it.
        self._metric = METRIC

    def reason_of(self, number: int) -> str:
        """Why a trial was pruned or failed; empty where nothing is known."""
        return self._reasons.get(number, "")

    def remember(self, result: Mapping[str, Any]) -> None:
        """Take a report of an earlier run into account."""

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept what is set already."""
        return metric in (None, METRIC) and mode in (None, MODE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Note what went wrong, in a line. Only a trial whose process was lost is worth another start."""
        error = _error_of(trial)
        if not isinstance(error, RayActorError):
            trial.max_failures = 0
        # Ray wraps what the trial raised; of a process that was lost it has a text, or nothing.
        cause = getattr(error, "cause", None)
        cause = cause if isinstance(cause, Exception) else error
        if isinstance(cause, TrialFailed):
            self._reasons[_number(trial)] = str(cause)
        elif cause is not None:
            first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
            self._reasons[_number(trial)] = f"{type(cause).__name__}: {first}"


class HalvingScheduler(Reasons, AsyncHyperBandScheduler):  # type: ignore[misc]
    """ASHA (Li et al. 2020), or with several brackets asynchronous Hyperband, by Tune.

    Tune chooses a trial's bracket at random and knows it by an id of this run; here both come from its number, so that
    a sequential search is pruned alike whether or not it was interrupted.
    """

    def __init__(self, config: StrategyConfig, *, time_attr: str, seed: int) -> None:
        super().__init__(
            time_attr=time_attr,
            metric=METRIC,
            mode=MODE,
            max_t=LONGER_THAN_ANY,
            grace_period=config.grace_epochs,
            reduction_factor=config.reduction,
            brackets=BRACKETS[config.pruner],
            stop_last_trials=False,
        )
        self._reduction, self._seed = config.reduction, seed

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Put it into a bracket, those with more rungs more often, as Tune does."""
        number = _number(trial)
        self._trial_info[str(number)] = self._bracket(number)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether it goes on; only the first report at or after a rung is compared."""
        number, time = _number(trial), result.get(self._time_attr, 0)
        cutoff, seen = self._cutoff(number, time)
        action = str(super().on_trial_result(tune_controller, _known_by(number), result))
        if action == TrialScheduler.STOP and _goes_on(trial, result):
            return str(TrialScheduler.CONTINUE)
        if action == TrialScheduler.STOP:
            best = BEST.get(self._reduction, f"1/{self._reduction}")
            self._reasons[number] = (
                f"value {result[METRIC]:.4g} at {WHERE[self._time_attr].format(time)} is below the best {best} of "
                f"{seen} seen there ({cutoff:.4g})"
            )
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forget its bracket; what it reported stays."""
        self._trial_info.pop(str(_number(trial)), None)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Forget its bracket, too."""
        super().on_trial_error(tune_controller, trial)
        self._trial_info.pop(str(_number(trial)), None)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """The same for one that never ran."""
        self._trial_info.pop(str(_number(trial)), None)

    def remember(self, result: Mapping[str, Any]) -> None:
        """Record it at its rung."""
        number = int(result["number"])
        self._bracket(number).on_result(_known_by(number), result[self._time_attr], result[METRIC])

    def _bracket(self, number: int) -> Any:
        rungs = [len(bracket._rungs) for bracket in self._brackets]
        weights = [2.718281828**count for count in rungs]
        shares = [weight / sum(weights) for weight in weights]
        place = generator(self._seed, "bracket", number).choice(len(rungs), p=shares)
        return self._brackets[int(place)]

    def _cutoff(self, number: int, time: int) -> tuple[float, int]:
        """What Tune is about to compare with: the value, and of how many trials."""
        bracket = self._bracket(number)
        for milestone, recorded in bracket._rungs:
            if time >= milestone:
                cutoff = bracket.cutoff(recorded)
                return (float("nan") if cutoff is None else float(cutoff)), len(recorded)
        return float("nan"), 0


class WilcoxonScheduler(Reasons):
    """Stops a trial that is surely worse than the best one on the same validation triples after as many epochs."""

    def __init__(self, config: StrategyConfig, *, time_attr: str) -> None:
        super().__init__()
        self._time_attr, self._grace = time_attr, config.grace_epochs
        self._looks = PairedLooks(config.p_threshold)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """From now on others may be compared with it."""
        self._looks.running.add(_number(trial))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Only if it was finished, still."""
        self._looks.running.discard(_number(trial))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """No longer."""
        super().on_trial_error(tune_controller, trial)
        self._looks.running.discard(_number(trial))

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """No longer."""
        self._looks.running.discard(_number(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether it goes on; each epoch is looked at once."""
        number, place = _number(trial), int(result.get(self._time_attr, 0))
        if not self._note(number, result) or result.get("finished") or place < self._grace:
            return str(TrialScheduler.CONTINUE)
        reason = self._looks.verdict(number, place)
        if reason is None or _goes_on(trial, result):
            return str(TrialScheduler.CONTINUE)
        self._reasons[number] = f"at {WHERE[self._time_attr].format(place)} {reason}"
        return str(TrialScheduler.STOP)

    def remember(self, result: Mapping[str, Any]) -> None:
        """Keep its ranks, where the report still has them."""
        self._note(int(result["number"]), result)

    def _note(self, number: int, result: Mapping[str, Any]) -> bool:
        if result.get("finished"):
            self._looks.finish(number, result[METRIC])
        place = int(result.get(self._time_attr, 0))
        return place > 0 and self._looks.add(number, place, result.get("rr") or ())


def scheduler_of(
    config: StrategyConfig, *, seed: int, depths_vary: bool, past: Iterable[Mapping[str, Any]] = ()
) -> Reasons:
    """The scheduler of a round.

    Args:
        config: The strategy.
        seed: Of the search.
        depths_vary: Whether layers are searched: then trials are compared within the last grade, unless `prune_on` says
            otherwise.
        past: Reports of earlier runs of the search, as trials reported them or from `results_of`; without reciprocal
            ranks (`rr`) the Wilcoxon pruner cannot use them.
    """
    on_target = config.prune_on == "target" or (config.prune_on is None and depths_vary)
    time_attr = "target_epoch" if on_target else "epoch"
    scheduler = _scheduler(config, time_attr, seed)
    for result in past:
        scheduler.remember(result)
    return scheduler


def results_of(record: TrialRecord) -> Iterator[dict[str, Any]]:
    """What a trial reported, as a scheduler reads it, from its record."""
    last = [stage.grade for stage in record.stages if stage.control_of is None][-1]
    for place, report in enumerate(record.reports, 1):
        yield {
            **report.model_dump(),
            "number": record.number,
            "target_epoch": report.grade_epoch if report.grade == last else 0,
            "finished": record.state is TrialState.DONE and place == len(record.reports),
        }


def _scheduler(config: StrategyConfig, time_attr: str, seed: int) -> Reasons:
    # Pruners compare one value; with several objectives a trial that is worse in it may be the best in another.
    if config.pruner == "none" or len(config.objectives) > 1:
        return Reasons()
    if config.pruner == "wilcoxon":
        return WilcoxonScheduler(config, time_attr=time_attr)
    return HalvingScheduler(config, time_attr=time_attr, seed=seed)


def _error_of(trial: Any) -> Exception | None:
    """What Tune has just written down; `Trial.get_pickled_error` reads a copy that is made later."""
    path = trial.pickled_error_file
    if path is None or not Path(path).is_file():
        return None
    with suppress(Exception):
        # An error whose class this process cannot import is an error all the same.
        found: Exception = cloudpickle.loads(Path(path).read_bytes())
        return found
    return None


def _number(trial: Any) -> int:
    return int(trial.config["number"])


def _goes_on(trial: Any, result: Mapping[str, Any]) -> bool:
    """Whether a trial is never ended: what all others are compared with, and where no training is left to be saved."""
    return bool(trial.config.get(KEPT) or result.get("last"))


def _known_by(number: int) -> SimpleNamespace:
    return SimpleNamespace(trial_id=str(number))
