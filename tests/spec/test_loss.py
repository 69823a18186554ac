"""Loss settings: weights leave room for the labels, parts are found by name with their own options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pmd_ray.spec.loss import LossConfig

weights = st.floats(0.0, 2.0)


@given(weights, weights)
def test_convex_weights_add_up_to_one_at_most(alpha: float, beta: float) -> None:
    if alpha + beta <= 1.0:
        assert LossConfig(alpha=alpha, beta=beta).alpha == alpha
    else:
        with pytest.raises(ValidationError, match="alpha \\+ beta must be at most 1"):
            LossConfig(alpha=alpha, beta=beta)


@given(weights, weights, st.sampled_from(["additive", "adaptive"]))
def test_other_combinations_take_any_weights(alpha: float, beta: float, combination: str) -> None:
    assert LossConfig.model_validate({"alpha": alpha, "beta": beta, "combination": combination}).beta == beta


def test_a_part_by_name_and_by_settings_is_the_same() -> None:
    by_name = LossConfig.model_validate({"score": "scores", "feature": "mgfd"})
    assert by_name == LossConfig.model_validate({"score": {"name": "scores"}, "feature": {}}) == LossConfig()


def test_options_are_kept_and_survive_a_dump() -> None:
    loss = LossConfig.model_validate({"score": {"space": "softmax_kl", "temperature": 4}})
    dumped = loss.model_dump(mode="json")
    assert (dumped["score"]["name"], dumped["score"]["temperature"]) == ("scores", 4.0)
    assert LossConfig.model_validate(dumped) == loss


@pytest.mark.parametrize("given", [None, 5, ["scores"], {"name": 5}, {"name": "none"}, {"name": "mgfd"}, {"spce": 1}])
def test_what_is_no_score_loss(given: object) -> None:
    with pytest.raises(ValidationError):
        LossConfig.model_validate({"score": given})
