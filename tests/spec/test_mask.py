"""Mask settings: the legal rates, and sequences in one order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pmd_ray.spec.mask import MaskConfig


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_a_rate_below_one_is_legal(rate: float) -> None:
    assert MaskConfig(rate=rate).rate == rate


@pytest.mark.parametrize("rate", [1.0, 1.5, -0.1, float("nan"), float("inf")])
def test_any_other_rate_is_not(rate: float) -> None:
    with pytest.raises(ValidationError):
        MaskConfig(rate=rate)


@given(st.permutations(["hr", "tail", "head"]), st.integers(0, 3))
def test_sequences_have_one_order(order: list[str], count: int) -> None:
    sequences = MaskConfig.model_validate({"sequences": order[:count]}).sequences
    assert list(sequences) == [name for name in ("hr", "tail", "head") if name in order[:count]]


def test_a_mask_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        MaskConfig().rate = 0.5  # type: ignore[misc]


def test_a_truth_value_is_no_rate() -> None:
    with pytest.raises(ValidationError, match="must not be false"):
        MaskConfig.model_validate({"rate": False})
    with pytest.raises(ValidationError, match="must not be true"):
        MaskConfig.model_validate({"min_tokens": True})
