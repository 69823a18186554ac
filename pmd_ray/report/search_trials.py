"""The trials of a search by round: which are done, the best, what cannot be told from it, and the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pmd_ray.spec.search_chain import chain_of
from pmd_ray.spec.search_record import DEFAULT, SearchRecord, TrialRecord, TrialState


@dataclass(frozen=True, kw_only=True)
class Round:
    """One Optuna study of the search: its values can be compared."""

    name: str
    trials: tuple[TrialRecord, ...]
    whole: bool
    """Whether its trials are whole chains; those of the earlier grades of a beam are not."""

    @property
    def ranked(self) -> tuple[TrialRecord, ...]:
        """The trials that are done, best first; of equal values the earlier one first."""
        return ranked(self.trials)

    @property
    def drawn(self) -> tuple[TrialRecord, ...]:
        """Those of them whose point lies inside the space, in the order of asking."""
        return tuple(sorted((trial for trial in self.ranked if trial.inside), key=lambda trial: trial.number))

    @property
    def best(self) -> TrialRecord | None:
        """The best one; None where none is done."""
        return next(iter(self.ranked), None)

    @property
    def default(self) -> TrialRecord | None:
        """The baseline as it is; None where this round has none that is done."""
        return next((trial for trial in self.ranked if trial.origin == DEFAULT), None)

    @property
    def title(self) -> str:
        """`2 layers`, `grade 1`."""
        what, _, place = self.name.rpartition("-")
        return {"layers": f"{place} layers", "grade": f"grade {place}"}.get(what, self.name)

    def rank(self, trial: TrialRecord) -> int:
        """Place among the done ones, from 1; equal values share the better place."""
        return 1 + sum(value_of(other) > value_of(trial) for other in self.ranked)

    def close(self) -> tuple[TrialRecord, ...]:
        """The others whose value is within one standard error of the best one's, best first."""
        best = self.best
        if best is None or best.standard_error is None:
            return ()
        least = value_of(best) - best.standard_error
        return tuple(trial for trial in self.ranked if trial is not best and value_of(trial) >= least)


def rounds_of(record: SearchRecord) -> tuple[Round, ...]:
    """Every round that has a trial, in the order in which they began."""
    names = dict.fromkeys(trial.round for trial in record.trials)
    found = []
    for name in names:
        trials = tuple(record.in_round(name))
        found.append(Round(name=name, trials=trials, whole=all(is_whole(record, trial) for trial in trials)))
    return tuple(found)


def is_whole(record: SearchRecord, trial: TrialRecord) -> bool:
    """Whether a trial's chain is whole: that of an earlier grade of a beam is not."""
    if record.search.search.strategy != "grade":
        return True
    return len(trial.layers) >= len(chain_of(record.search, {}).grades)


def ranked(trials: tuple[TrialRecord, ...]) -> tuple[TrialRecord, ...]:
    """The done ones, best first; of equal values the earlier one first."""
    done = [trial for trial in trials if trial.state is TrialState.DONE and trial.value is not None]
    return tuple(sorted(done, key=lambda trial: (-value_of(trial), trial.number)))


def value_of(trial: TrialRecord) -> float:
    """The value of a trial that is done."""
    if trial.value is None:
        raise ValueError(f"trial {trial.number} has no value")
    return trial.value


def default_of(rounds: tuple[Round, ...], one: Round) -> TrialRecord | None:
    """The default that a round's best stands beside: its own, else that of another round of whole chains."""
    others = (other.default for other in rounds if other.whole and other.default is not None)
    return one.default or (next(others, None) if one.whole else None)


def epochs_of(trial: TrialRecord) -> int:
    """Epochs of the chain that a trial reported."""
    return max((report.epoch for report in trial.reports), default=0)


def base_of(parameter: str) -> str:
    """`beta` of `beta|alpha=0.5`: one setting, drawn from what another one left."""
    return parameter.partition("|")[0]


def params_of(trial: TrialRecord) -> dict[str, Any]:
    """What was drawn, by the settings' own names."""
    return {base_of(name): value for name, value in trial.params.items()}


def parameters_of(trials: tuple[TrialRecord, ...]) -> tuple[str, ...]:
    """Names of what the trials drew, in the order of drawing."""
    return tuple(dict.fromkeys(name for trial in trials for name in params_of(trial)))
