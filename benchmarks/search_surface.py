"""How often does a search find the best setting? Measured on a surface whose optimum is known; nothing is trained.

    python -m benchmarks.search_surface [--seeds 20] [--trials 60] [--samplers tpe,random] [--strategies "chain;beam"]
        [--json]

MRR = 0.6 minus a weighted square distance to a hidden optimum (another for each seed) in the first mask rate, the decay
ratio, the logarithms of the alpha and beta ratios and the depth of the last student, with one interaction of rate and
depth; noise of sd 0.005; each epoch comes nearer to it. Trials go through the project's searcher and schedulers in the
order in which Tune calls them, one at a time. `within`: share of seeds in which the trial with the best measured value
is in truth within 0.01 of the optimum. `beam` draws three grades in turn, a third of the trials each, and keeps the
best. The Gaussian process (`--samplers gp`) takes up to 20 CPU seconds a search, the others about one; it is left out
unless asked for, best with OMP_NUM_THREADS=1: its matrices are small.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import exp, log
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.tune.search import Searcher

from pmd_ray.run.search.recorded import RecordedSearch
from pmd_ray.run.search.reports import TrialReport
from pmd_ray.run.search.schedulers import Reasons, scheduler_of
from pmd_ray.spec.keys import digest
from pmd_ray.spec.search import StrategyConfig
from pmd_ray.spec.search_record import TrialRecord, TrialState
from pmd_ray.spec.streams import generator
from pmd_ray.spec.study_record import StageUse

SAMPLERS = ("tpe", "nsga2", "cmaes", "random")
STRATEGIES = {
    "chain": "none",
    "chain, asha": "asha",
    "chain, hyperband": "hyperband",
    "chain, wilcoxon": "wilcoxon",
    "beam": "none",
}
"""With their pruners."""
EPOCHS, TRIPLES = 9, 200
TOP, NEAR, NOISE = 0.6, 0.01, 0.005
SPREAD = 0.2
"""Of a triple's reciprocal rank around the trial's, beside what the triple has in all trials."""
RATES, RATIOS = [round(0.05 * step, 2) for step in range(1, 11)], [0.25, 0.5, 0.75, 1.0]
LOG_RATIOS = (log(0.05), log(2.0))
DEPTHS = (2, 10)
WEIGHTS = {"rate": 0.06, "ratio": 0.03, "alpha": 0.08, "beta": 0.04, "depth": 0.05}
"""Loss of MRR at a distance of the whole range."""
INTERACTION = 0.05
"""Of rate and depth, less than 2 (0.06 x 0.05)^0.5, so that the optimum stays the only one."""
DEFAULTS: dict[str, Any] = {"rate": 0.2, "ratio": 0.5, "alpha": 0.2, "beta": 0.2, "depth": 3}
GRADES = (("rate", "alpha"), ("depth", "ratio"), ("beta",))
"""What each grade of the beam draws; the others keep their defaults until then."""


def placed(params: Mapping[str, Any]) -> dict[str, float]:
    """Each parameter's place in its range, 0 to 1."""
    low, high = LOG_RATIOS
    return {
        "rate": (params["rate"] - RATES[0]) / (RATES[-1] - RATES[0]),
        "ratio": (params["ratio"] - RATIOS[0]) / (RATIOS[-1] - RATIOS[0]),
        "alpha": (log(params["alpha"]) - low) / (high - low),
        "beta": (log(params["beta"]) - low) / (high - low),
        "depth": (params["depth"] - DEPTHS[0]) / (DEPTHS[1] - DEPTHS[0]),
    }


def draw(suggest: Any, names: tuple[str, ...] = tuple(DEFAULTS)) -> dict[str, Any]:
    """A point, or a part of one."""
    ratios = [exp(end) for end in LOG_RATIOS]
    asks = {
        "rate": lambda: suggest.suggest_float("rate", RATES[0], RATES[-1], step=0.05),
        "ratio": lambda: suggest.suggest_categorical("ratio", RATIOS),
        "alpha": lambda: suggest.suggest_float("alpha", *ratios, log=True),
        "beta": lambda: suggest.suggest_float("beta", *ratios, log=True),
        "depth": lambda: suggest.suggest_int("depth", *DEPTHS),
    }
    return {name: asks[name]() for name in names}


@dataclass
class Surface:
    """The hidden truth of one seed, as a source of reports."""

    seed: int
    points: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Trial to its whole point."""
    optimum: dict[str, float] = field(default_factory=dict)
    triples_T: NDArray[np.float64] = field(default_factory=lambda: np.zeros(TRIPLES))
    """What a triple is easier than others, in all trials."""

    def __post_init__(self) -> None:
        random = generator(self.seed, "surface")
        low, high = LOG_RATIOS
        self.optimum = placed(
            {
                "rate": random.choice(RATES),
                "ratio": random.choice(RATIOS),
                "alpha": exp(random.uniform(low, high)),
                "beta": exp(random.uniform(low, high)),
                "depth": int(random.integers(DEPTHS[0], DEPTHS[1] + 1)),
            }
        )
        self.triples_T = 0.3 * random.standard_normal(TRIPLES)
        self.triples_T -= self.triples_T.mean()

    def truth(self, point: Mapping[str, Any]) -> float:
        """MRR without noise; at most 0.6, at the optimum."""
        off = {name: place - self.optimum[name] for name, place in placed(point).items()}
        square = sum(weight * off[name] ** 2 for name, weight in WEIGHTS.items())
        return TOP - square - INTERACTION * off["rate"] * off["depth"]

    def reports(self, number: int) -> Iterator[TrialReport]:
        """Epochs of the last grade."""
        random = generator(self.seed, "trial", number)
        value = self.truth(self.points[number]) + NOISE * random.standard_normal()
        for epoch in range(1, EPOCHS + 1):
            # The curve ends at the value, and its noise there.
            away = exp(-epoch / 2.5) - exp(-EPOCHS / 2.5)
            now = value - away * (0.3 + NOISE * random.standard_normal())
            own_T = SPREAD * random.standard_normal(TRIPLES)
            yield TrialReport(
                number=number,
                epoch=epoch,
                grade="student",
                grade_epoch=epoch,
                target_epoch=epoch,
                value=now,
                rr=tuple(now + self.triples_T + own_T - own_T.mean()),
                finished=epoch == EPOCHS,
            )


@dataclass
class Kept:
    """The trials of one search, in memory."""

    trials: dict[int, TrialRecord] = field(default_factory=dict)
    limit: int = 0

    def next_number(self) -> int:
        """After the last."""
        return len(self.trials)

    def asked(self, record: TrialRecord) -> None:
        """Keep it."""
        self.trials[record.number] = record

    def told(self, record: TrialRecord) -> None:
        """Keep it."""
        self.trials[record.number] = record

    def records(self, round: str) -> list[TrialRecord]:
        """Of a round."""
        return [record for record in self.trials.values() if record.round == round]

    def may_ask(self) -> bool:
        """Up to the limit."""
        return len(self.trials) < self.limit


@dataclass
class Found:
    """What one search of one seed came to."""

    gap: float
    """From the optimum, of the trial that measured best."""
    epochs: int
    pruned: int
    seconds: float


def run_round(
    surface: Surface, kept: Kept, config: StrategyConfig, *, name: str, names: tuple[str, ...], above: Mapping[str, Any]
) -> TrialRecord:
    """One Optuna study, called as Tune calls it; the best finished trial."""

    def describe(number: int, params: Mapping[str, Any], origin: str, settings: Any) -> TrialRecord:
        point = {**DEFAULTS, **above, **params}
        surface.points[number] = point
        stage = StageUse(grade="student", layers=3, mask_rate=0, key=digest(point), teacher=None, teacher_key=None)
        return TrialRecord(
            number=number, round=name, origin=origin, settings=point, layers=(3,), mask_rates=(), stages=(stage,)
        )

    scheduler = scheduler_of(config, seed=surface.seed, depths_vary=True)
    search = RecordedSearch(
        kept,
        round=name,
        draw=lambda suggest: draw(suggest, names),
        describe=describe,
        queue=(),
        config=config,
        seed=surface.seed,
        reason_of=scheduler.reason_of,
    )
    while (asked := search.suggest("trial")) != Searcher.FINISHED:
        run_trial(surface, search, scheduler, asked["number"])
    done = [record for record in kept.records(name) if record.state is TrialState.DONE]
    return max(done, key=lambda record: record.value or 0.0)


def run_trial(surface: Surface, search: RecordedSearch, scheduler: Reasons, number: int) -> None:
    """Report until the end, or until the scheduler stops it: then the searcher has the last report with its end."""
    trial = SimpleNamespace(trial_id="trial", config={"number": number})
    scheduler.on_trial_add(None, trial)
    result: dict[str, Any] = {}
    for report in surface.reports(number):
        result = report.to_result()
        if scheduler.on_trial_result(None, trial, result) == "STOP":
            break
        search.on_trial_result("trial", result)
    scheduler.on_trial_complete(None, trial, result)
    search.on_trial_complete("trial", result=result)


def one_search(sampler: str, strategy: str, *, seed: int, trials: int) -> Found:
    """A search of one seed."""
    begun = time.process_time()
    surface, kept = Surface(seed), Kept(limit=trials)
    config = StrategyConfig.model_validate({"sampler": sampler, "pruner": STRATEGIES[strategy]})
    if strategy == "beam":
        above: dict[str, Any] = {}
        for place, names in enumerate(GRADES, 1):
            kept.limit = trials * place // len(GRADES)
            best = run_round(surface, kept, config, name=f"grade-{place}", names=names, above=above)
            above = best.settings
    else:
        best = run_round(surface, kept, config, name="chain", names=tuple(DEFAULTS), above={})
    return Found(
        gap=TOP - surface.truth(best.settings),
        epochs=sum(len(record.reports) for record in kept.trials.values()),
        pruned=sum(record.state is TrialState.PRUNED for record in kept.trials.values()),
        seconds=time.process_time() - begun,
    )


@dataclass
class Row:
    """A sampler under a strategy, over all seeds."""

    sampler: str
    strategy: str
    found: list[Found]

    @property
    def within(self) -> float:
        """Share of seeds."""
        return sum(one.gap <= NEAR for one in self.found) / len(self.found)

    @property
    def summary(self) -> dict[str, Any]:
        """All that is shown."""
        return {
            "sampler": self.sampler,
            "strategy": self.strategy,
            "within": self.within,
            "median_gap": float(np.median([one.gap for one in self.found])),
            "epochs": float(np.mean([one.epochs for one in self.found])),
            "pruned": float(np.mean([one.pruned for one in self.found])),
            "cpu_seconds": float(np.mean([one.seconds for one in self.found])),
        }


def row_of(sampler: str, strategy: str, *, seeds: int, trials: int) -> Row:
    """Every seed."""
    return Row(sampler, strategy, [one_search(sampler, strategy, seed=seed, trials=trials) for seed in range(seeds)])


def table(rows: list[Row], seeds: int, trials: int) -> str:
    """Markdown."""
    lines = [
        f"{seeds} seeds, {trials} trials, {EPOCHS} epochs each",
        "",
        "| sampler | strategy | within 0.01 | median gap | pruned | epochs | CPU s a search |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        one = row.summary
        lines.append(
            f"| {row.sampler} | {row.strategy} | {row.within:.0%} | {one['median_gap']:.4f} | {one['pruned']:.1f} "
            f"| {one['epochs']:.0f} | {one['cpu_seconds']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--strategies", default=";".join(STRATEGIES), help="separated by semicolons")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for sampler in given.samplers.split(","):
        if sampler == "cmaes" and find_spec("cmaes") is None:
            print("cmaes is left out: its package is not installed", file=sys.stderr)
            continue
        strategies = given.strategies.split(";")
        rows += [row_of(sampler, strategy, seeds=given.seeds, trials=given.trials) for strategy in strategies]
    if given.json:
        whole = {"seeds": given.seeds, "trials": given.trials, "rows": [row.summary for row in rows]}
        print(json.dumps(whole, indent=1))
    else:
        print(table(rows, given.seeds, given.trials))


if __name__ == "__main__":
    main()
