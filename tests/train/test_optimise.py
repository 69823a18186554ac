"""The schedule is transformers' own, and decay spares what it should not pull to zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import small
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from pmd_ray.model.losses import Setting
from pmd_ray.spec.optimiser import OptimiserConfig
from pmd_ray.train.objective import Objective
from pmd_ray.train.optimise import UNCERTAINTY_LR, Schedule, make_optimiser

PUBLISHED = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}


def published_factors(kind: str, *, warmup: int, total: int, steps: int) -> list[float]:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = PUBLISHED[kind](optimiser, num_warmup_steps=warmup, num_training_steps=total)
    factors = []
    for _ in range(steps):
        factors.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize(("asked", "share", "used"), [(0, 0.1, 0), (7, 0.1, 6), (3, 0.1, 3), (40, 1.0, 40)])
def test_factors_are_those_of_transformers(kind: Any, asked: int, share: float, used: int) -> None:
    """Warm-up is capped at a tenth of all steps, as in SimKGC; the first update has factor 0."""
    config = OptimiserConfig(epochs=3, schedule=kind, warmup_steps=asked, warmup_share=share)
    schedule = Schedule(config, steps_per_epoch=20)
    assert (schedule.warmup, schedule.total) == (used, 60)
    wanted = published_factors(kind, warmup=used, total=60, steps=61)
    assert [schedule.factor(step) for step in range(61)] == pytest.approx(wanted, abs=1e-15)


def factors(steps: int, epochs: int, **settings: Any) -> list[float]:
    """At every step of a training of so many epochs, and at its end."""
    schedule = Schedule(OptimiserConfig(epochs=epochs, **settings), steps_per_epoch=steps)
    return [schedule.factor(step) for step in range(steps * epochs + 1)]


@given(
    steps=st.integers(1, 30),
    epochs=st.integers(1, 8),
    more=st.integers(0, 8),
    warmup=st.integers(0, 40),
    share=st.floats(0.0, 1.0),
)
def test_a_schedule_that_never_falls_is_continued(
    steps: int, epochs: int, more: int, warmup: int, share: float
) -> None:
    """What a training is worth at an epoch is the same whether it ends there or goes on."""
    settings: dict[str, Any] = {"schedule": "wsd", "warmup_steps": warmup, "warmup_share": share}
    short, long = (factors(steps, number, decay_share=0.0, **settings) for number in (epochs, epochs + more))
    assert long[: len(short)] == short
    decayed = factors(steps, epochs + more, decay_share=0.5, **settings)
    stable = len(long) - 1 - round(0.5 * (len(long) - 1))
    assert decayed[: stable + 1] == long[: stable + 1]


def test_it_rises_stays_and_falls_in_a_straight_line() -> None:
    found = factors(10, 2, schedule="wsd", warmup_steps=400, warmup_share=0.2, decay_share=0.25)
    assert found == [0.0, 0.5, *[1.0] * 14, 0.8, 0.6, 0.4, 0.2, 0.0]


def test_it_is_the_linear_one_where_it_falls_all_the_way() -> None:
    settings: dict[str, Any] = {"warmup_steps": 3, "warmup_share": 1.0}
    assert factors(10, 4, schedule="wsd", decay_share=1.0, **settings) == pytest.approx(
        factors(10, 4, schedule="linear", **settings)
    )


def test_a_longer_schedule_is_not_annealed() -> None:
    """One epoch of a two-epoch schedule, as the released teacher was measured: the rate ends at its half."""
    schedule = Schedule(OptimiserConfig(epochs=1, schedule_epochs=2, warmup_steps=30), steps_per_epoch=163)
    assert (schedule.total, schedule.warmup) == (326, 30)
    assert schedule.factor(163) == pytest.approx((326 - 163) / (326 - 30))


def test_apply_sets_every_group() -> None:
    schedule = Schedule(OptimiserConfig(lr=0.5, epochs=1, warmup_steps=0), steps_per_epoch=4)
    first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimiser = torch.optim.AdamW([{"params": [first], "peak": 0.5}, {"params": [second], "peak": 0.1}])
    assert schedule.apply(optimiser, 1) == pytest.approx(0.375)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.375, 0.075])


@pytest.mark.parametrize("everything", [False, True])
def test_decay(everything: bool) -> None:
    """C22: the released code decays LayerNorm, biases and the temperature; `decay_everything` keeps that."""
    settings: dict[str, Any] = {"optimiser__decay_everything": everything, "optimiser__weight_decay": 0.3}
    grade = small.student_grade(
        "pmd_scaled", loss__feature__projector="linear", loss__combination="adaptive", **settings
    )
    model = small.model_of(grade)
    objective = Objective(grade, Setting(2, 4, 32, 32, ("hr", "tail")))
    optimiser = make_optimiser(model, objective, grade.optimiser)
    names = {id(weight): name for part in (model, objective) for name, weight in part.named_parameters()}
    decay = {names[id(w)]: group["weight_decay"] for group in optimiser.param_groups for w in group["params"]}
    peaks = {names[id(w)]: group["peak"] for group in optimiser.param_groups for w in group["params"]}
    assert set(decay) == set(names.values())  # every weight once
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(names)
    assert decay.pop("log_variance") == 0.0
    assert peaks.pop("log_variance") == UNCERTAINTY_LR and set(peaks.values()) == {grade.optimiser.lr}
    spared = {name for name, rate in decay.items() if rate == 0.0}
    own = {name for name in decay if name.startswith(("hr.", "tail.")) and (".bias" in name or "LayerNorm" in name)}
    assert spared == (set() if everything else own | {"log_inverse_t"})
    assert {decay[name] for name in decay.keys() - spared} == {0.3}
