"""A search of thirty made-up trials: real chains, keys, attempts and artifacts in a real store, nothing trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)

from pmd_ray.spec.attempt import AttemptState, Provenance
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import Facts, stages_of_chain
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_chain import chain_of
from pmd_ray.spec.search_record import Report, SearchRecord, TrialRecord, TrialState
from pmd_ray.spec.study_record import DatasetRecord, StageUse
from pmd_ray.store.store import Store

FACTS = Facts(dataset="d" * 64, encoder="e" * 64, device="cpu")
CPU_SECONDS = 36.0
"""Of every stage."""
EPOCHS = 3
"""Of every grade."""
TARGETS = (3, 2)
SCHEDULES = {3: ("6-3", "6-4-3"), 2: ("6-2", "6-4-2", "6-5-3-2")}
DRAFT: dict[str, Any] = {
    "preset": "pmd_warm",
    "dataset": {"source": "cldr"},
    "encoder": {"name": "scratch"},
    "layers": [6, 4, 2],
    "mask_rates": [0.2, 0.0],
    "optimiser": {"epochs": EPOCHS, "schedule": "cosine"},
}
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "layers@3": CategoricalDistribution(SCHEDULES[3]),
    "layers@2": CategoricalDistribution(SCHEDULES[2]),
    "mask.first": FloatDistribution(0.0, 0.4, step=0.1),
    "mask.ratio": CategoricalDistribution((0.25, 0.5, 1.0)),
    "alpha": FloatDistribution(0.01, 3.0, log=True),
    "beta": FloatDistribution(0.01, 3.0, log=True),
    "optimiser.lr": FloatDistribution(1e-5, 5e-4, log=True),
}


@dataclass(frozen=True)
class MadeSearch:
    """A search whose stages lie in a store."""

    record: SearchRecord
    store: Store


def config(**changes: Any) -> SearchConfig:
    """The search's file."""
    return SearchConfig.model_validate(
        {
            "name": "made",
            "about": "Which schedule, on <made-up> figures?",
            "drafts": (DRAFT,),
            "space": {
                "layers": {"first": [6], "between": [5, 4, 3], "targets": list(TARGETS)},
                "masks": {"first": {"low": 0.0, "high": 0.4, "step": 0.1}, "ratio": [0.25, 0.5, 1.0]},
                "weights": {
                    "form": "log_ratio",
                    "alpha": {"low": 0.01, "high": 3.0, "log": True},
                    "beta": {"low": 0.01, "high": 3.0, "log": True},
                },
                "settings": {"optimiser.lr": {"values": {"low": 1e-5, "high": 5e-4, "log": True}}},
            },
            "nuisance": ("optimiser.lr",),
            "budget": {"trials": 15},
            **changes,
        }
    )


def make_search(folder: Path, *, trials: int = 30, **changes: Any) -> MadeSearch:
    """The record, and a store in `folder/store` with an attempt and an artifact for every stage that was finished."""
    store = Store.open(folder / "store")
    record = make_record(trials=trials, storage=str(folder / "store"), **changes)
    publish_stages(record, store)
    return MadeSearch(record=record, store=store)


def make_record(*, trials: int = 30, storage: str = "store", **changes: Any) -> SearchRecord:
    """Trials alternate between both depths: the default and an outside point first, then drawn ones."""
    search = config(**changes)
    return SearchRecord(
        search=search,
        file="made.yaml",
        storage=storage,
        device="cpu",
        dataset=DatasetRecord(
            name="cldr", source="cldr", fingerprint="d" * 64, entities=200, relations=4, train=600, valid=60, test=60
        ),
        encoders={"scratch": "e" * 64},
        created="2024-05-06T07:08:09+00:00",
        command="pmd search made.yaml",
        seconds=3600.0,
        trials=tuple(_trial(search, number) for number in range(trials)),
        stopped="the budget of 15 trials is used up",
    )


def publish_stages(record: SearchRecord, store: Store) -> None:
    """Train every stage that a trial saw to its end, once."""
    for trial in record.trials:
        ended = {report.grade for report in trial.reports if report.grade_done}
        for use in trial.stages:
            if use.grade in ended and not store.has(use.key):
                publish_stage(store, use.key, study=record.search.name)


def publish_stage(store: Store, key: str, *, study: str = "made") -> None:
    """One attempt that ended well, and its artifact."""
    writer = store.begin(key, study=study)
    work = store.work(key)
    work.mkdir(parents=True, exist_ok=True)
    (work / "result.json").write_text("{}", encoding="utf-8")
    provenance = Provenance(package="0.2.0", commit="0123456789abcdef", dirty=False, host="node7", cores=2)
    store.publish(key, work, provenance=provenance, seconds=20.0, cpu_seconds=CPU_SECONDS)
    writer.end(AttemptState.DONE, seconds=20.0, cpu_seconds=CPU_SECONDS)


def _trial(search: SearchConfig, number: int) -> TrialRecord:
    target = TARGETS[number % 2]
    origin, params, settings = _point(number, target)
    chain, stages = _chain(search, settings)
    students = chain.grades[1:]
    layers = tuple(grade.layers for grade in chain.grades)
    state = _state(number)
    ended = {TrialState.DONE: len(stages), TrialState.PRUNED: 2, TrialState.FAILED: 1, TrialState.RUNNING: 1}[state]
    value = _value(number, params, layers)
    reports = _reports(stages[:ended], value)
    done = state is TrialState.DONE
    reasons = {TrialState.PRUNED: "worse than 6 of 8 at epoch 6", TrialState.FAILED: "out of memory: <b>grade 4</b>"}
    return TrialRecord(
        number=number,
        round=f"layers-{target}",
        origin=origin,
        params={name.partition("@")[0]: given for name, given in params.items()},
        distributions={name.partition("@")[0]: distribution_to_json(DISTRIBUTIONS[name]) for name in params},
        inside=origin != "masks 50/25",
        settings=settings,
        layers=layers,
        mask_rates=tuple(grade.mask.rate for grade in students),
        alphas=tuple(grade.loss.alpha for grade in students),
        betas=tuple(grade.loss.beta for grade in students),
        stages=stages,
        state=state,
        value=value if done else None,
        standard_error=0.008 if done else None,
        parameters=(24_000_000 + 7_000_000 * target) if done else None,
        latency_ms=2.0 + target if done else None,
        seconds=CPU_SECONDS * len(stages) if done else None,
        reports=reports,
        reason=reasons.get(state, ""),
        asked=2 * number,
        told=None if state is TrialState.RUNNING else 2 * number + 1,
        started="2024-05-06T07:08:09+00:00",
        ended=None if state is TrialState.RUNNING else "2024-05-06T07:18:09+00:00",
    )


def _state(number: int) -> TrialState:
    if number == 29:
        return TrialState.RUNNING
    if number % 7 == 5:
        return TrialState.PRUNED
    return TrialState.FAILED if number == 17 else TrialState.DONE


def _point(number: int, target: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Origin, what was drawn, and the settings that it means."""
    if number == 1:
        return "default", {"layers@2": "6-4-2", "mask.first": 0.2}, {}
    if number == 3:
        return "masks 50/25", {"layers@2": "6-4-2"}, {"mask_rates": [0.5, 0.25]}
    luck = np.random.default_rng(number)
    schedule = str(luck.choice(SCHEDULES[target]))
    layers = [int(part) for part in schedule.split("-")]
    first = round(float(luck.integers(0, 5)) / 10, 1)
    params: dict[str, Any] = {f"layers@{target}": schedule, "mask.first": first}
    ratio = 1.0
    if first > 0 and len(layers) > 2:
        params["mask.ratio"] = ratio = float(luck.choice([0.25, 0.5, 1.0]))
    params["alpha"] = share = float(np.exp(luck.uniform(np.log(0.01), np.log(3.0))))
    other = 0.0
    if first > 0:
        params["beta"] = other = float(np.exp(luck.uniform(np.log(0.01), np.log(3.0))))
    params["optimiser.lr"] = 5e-4 if number == 4 else float(np.exp(luck.uniform(np.log(1e-5), np.log(5e-4))))
    settings = {
        "layers": layers,
        "mask_rates": [round(first * ratio**place * 20) / 20 for place in range(len(layers) - 1)],
        "loss.alpha": share / (1 + share + other),
        "loss.beta": other / (1 + share + other),
        # Two learning rates, so that trials share stages.
        "optimiser.lr": 5e-4 if params["optimiser.lr"] > 7e-5 else 2e-5,
    }
    return "paper" if number == 2 else "sampled", params, settings


def _value(number: int, params: dict[str, Any], layers: tuple[int, ...]) -> float:
    """Masks of 0.2 and a high learning rate help; trial 4 is the best of its depth."""
    first, rate = float(params.get("mask.first", 0.2)), float(params.get("optimiser.lr", 5e-5))
    noise = float(np.random.default_rng([number, 1]).normal(0.0, 0.004))
    bonus = 0.1 if number == 4 else 0.0
    return 0.3 + 0.01 * layers[-1] - (first - 0.2) ** 2 + 0.01 * float(np.log(rate / 5e-5)) + noise + bonus


def _reports(stages: tuple[StageUse, ...], value: float) -> tuple[Report, ...]:
    return tuple(
        Report(
            epoch=place * EPOCHS + epoch,
            grade=use.grade,
            grade_epoch=epoch,
            value=value - 0.01 * (EPOCHS - epoch),
            grade_done=epoch == EPOCHS,
        )
        for place, use in enumerate(stages)
        for epoch in range(1, EPOCHS + 1)
    )


def _chain(search: SearchConfig, settings: dict[str, Any]) -> tuple[ChainConfig, tuple[StageUse, ...]]:
    """A chain and its stages."""
    chain = chain_of(search, settings)
    return chain, tuple(map(StageUse.of, stages_of_chain(chain, FACTS)))
