"""The tables of a search: every trial, the best of each round beside the default, and how trials ended early."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pmd_ray.report.search_trials import Round, default_of, epochs_of, value_of
from pmd_ray.report.settings import difference_text
from pmd_ray.report.sheet import Cell, Sheet, millions, number, sheet, signed, with_spread
from pmd_ray.spec.search_record import SAMPLED, SearchRecord, TrialRecord, TrialState
from pmd_ray.spec.variants import touched

POINT = ("layers", "mask_rates", "alphas", "betas")
TRIALS = (
    *("trial", "round", "origin", "parent", "settings", *POINT, "state", "value", "standard_error"),
    *("parameters", "latency_ms", "seconds", "epochs", "reason"),
)
TRIALS_SHOWN = (
    *("trial", "round", "origin", "parent", "layers", "masks", "alpha", "beta", "settings", "state", "value"),
    *("parameters", "ms", "train s", "epochs"),
)
BEST = (
    *("round", "what", "trial", "rank", "of", "origin", "settings", *POINT, "value", "standard_error", "difference"),
    *("parameters", "latency_ms", "seconds", "within_one_standard_error"),
)
BEST_SHOWN = (
    *("round", "what", "value", "− default", "rank", "trial", "layers", "masks", "alpha", "beta", "settings"),
    *("parameters", "ms", "train s", "cannot be told from it"),
)
EARLY = ("trial", "round", "state", "epochs", "last value", "reason")
TEXTS = (
    *("round", "origin", "settings", "layers", "mask_rates", "alphas", "betas", "state", "reason", "what"),
    *("masks", "alpha", "beta", "within_one_standard_error", "cannot be told from it"),
)
BEST_CAPTION = (
    "Validation values of single trainings; ± is the standard error over validation triples. The best of many is "
    "flattered by its luck: only the confirmation says what it is worth. Rank among the trials that are done."
)
TRIALS_CAPTION = (
    "In the order of asking. Train s: CPU-seconds (on GPUs GPU-seconds) of all its stages, had it trained them itself."
)
WORDED = ("layers", "mask.rate", "loss.alpha", "loss.beta")
"""Settings that have columns of their own."""


def trials_sheet(record: SearchRecord) -> Sheet:
    """Every trial with every digit."""
    return sheet("trials", TRIALS, map(_wide, record.trials), texts=TEXTS, optional=("parent",), caption=TRIALS_CAPTION)


def trials_shown(record: SearchRecord) -> Sheet:
    """The same for reading."""
    rows = [
        {
            "trial": str(trial.number),
            "round": trial.round,
            "origin": trial.origin,
            "parent": None if trial.parent is None else str(trial.parent),
            "state": trial.state.value,
            "epochs": str(epochs_of(trial)),
            **_shown(trial),
        }
        for trial in record.trials
    ]
    optional = ("parent", "alpha", "beta", "settings", "parameters", "ms", "train s")
    return sheet("trials", TRIALS_SHOWN, rows, texts=TEXTS, optional=optional, caption=TRIALS_CAPTION)


def best_sheet(rounds: tuple[Round, ...]) -> Sheet:
    """The best of each round, the default and the other points tried first that are done, with every digit."""
    rows: list[dict[str, Cell]] = []
    for one, what, trial in _beside(rounds):
        default = default_of(rounds, one)
        cells = {name: cell for name, cell in _wide(trial).items() if name in BEST}
        cells |= {"round": one.name, "what": what, "rank": one.rank(trial), "of": len(one.ranked)}
        if default is not None and default is not trial:
            cells["difference"] = value_of(trial) - value_of(default)
        if trial is one.best:
            cells["within_one_standard_error"] = " ".join(str(other.number) for other in one.close())
        rows.append(cells)
    return sheet("best", BEST, rows, texts=TEXTS, caption=BEST_CAPTION)


def best_shown(rounds: tuple[Round, ...]) -> Sheet:
    """The same for reading."""
    rows: list[dict[str, Cell]] = []
    for one, what, trial in _beside(rounds):
        default = default_of(rounds, one)
        cells: dict[str, Cell] = {
            "round": one.title,
            "what": what if trial.origin in (what, SAMPLED) else f"{what} = {trial.origin}",
            "trial": str(trial.number),
            "rank": f"{one.rank(trial)} of {len(one.ranked)}",
            **_shown(trial),
        }
        if default is not None and default is not trial:
            gap = signed(value_of(trial) - value_of(default))
            cells["− default"] = gap if one.default else f"{gap} ({default.layers[-1]} layers)"
        if trial is one.best:
            cells["cannot be told from it"] = close_text(one)
        rows.append(cells)
    optional = ("alpha", "beta", "settings", "parameters", "ms", "train s", "− default", "cannot be told from it")
    return sheet("best", BEST_SHOWN, rows, texts=TEXTS, optional=optional, caption=BEST_CAPTION)


def close_text(one: Round, *, most: int = 6) -> str:
    """`4, 9 and 3 more`: the trials within one standard error of the best."""
    numbers = [str(trial.number) for trial in one.close()]
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(numbers[:most]) + more


def early_shown(record: SearchRecord, state: TrialState) -> Sheet:
    """Trials that ended early, each with its reason."""
    rows: list[dict[str, Cell]] = [
        {
            "trial": str(trial.number),
            "round": trial.round,
            "state": trial.state.value,
            "epochs": str(epochs_of(trial)),
            "last value": number(trial.reports[-1].value) if trial.reports else "",
            "reason": trial.reason or "no reason was told",
        }
        for trial in record.trials
        if trial.state is state
    ]
    return sheet(state.value, EARLY, rows, texts=TEXTS)


def listed(values: Sequence[float]) -> str:
    """`0.2/0.1/0`."""
    return "/".join(f"{value:.4g}" for value in values)


def _beside(rounds: Iterable[Round]) -> Iterable[tuple[Round, str, TrialRecord]]:
    """The rows: what stands for what in which round."""
    for one in rounds:
        if one.best is not None:
            yield one, "best", one.best
        yield from ((one, trial.origin, trial) for trial in _enqueued(one) if trial is not one.best)


def _enqueued(one: Round) -> Sequence[TrialRecord]:
    """The default and the paper's own setting, where they are done."""
    return [trial for name in ("default", "paper") for trial in one.ranked if trial.origin == name]


def _wide(trial: TrialRecord) -> dict[str, Cell]:
    return {
        "trial": trial.number,
        "round": trial.round,
        "origin": trial.origin,
        "parent": trial.parent,
        "settings": difference_text(trial.settings),
        "layers": "-".join(map(str, trial.layers)),
        "mask_rates": "/".join(map(repr, trial.mask_rates)),
        "alphas": "/".join(map(repr, trial.alphas)),
        "betas": "/".join(map(repr, trial.betas)),
        "state": trial.state.value,
        "value": trial.value,
        "standard_error": trial.standard_error,
        "parameters": trial.parameters,
        "latency_ms": trial.latency_ms,
        "seconds": trial.seconds,
        "epochs": epochs_of(trial),
        "reason": trial.reason,
    }


def _shown(trial: TrialRecord) -> dict[str, Cell]:
    """What both tables for reading have of a trial."""
    others = {name: value for name, value in trial.settings.items() if touched(name) not in WORDED}
    return {
        "layers": "-".join(map(str, trial.layers)),
        "masks": listed(trial.mask_rates),
        "alpha": _once(trial.alphas),
        "beta": _once(trial.betas),
        "settings": difference_text(others),
        "value": with_spread(trial.value, trial.standard_error),
        "parameters": millions(trial.parameters),
        "ms": number(trial.latency_ms, 1),
        "train s": number(trial.seconds, 0),
    }


def _once(values: Sequence[float]) -> str:
    """One figure where all students have the same."""
    return listed(values[:1] if len(set(values)) == 1 else values)
