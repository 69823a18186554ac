"""Holm's correction against a plain implementation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.stats.holm import holm

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def plain(p_values: list[float]) -> list[float]:
    """From the definition: the largest of (m - rank) p over all that are no larger, ties by place."""
    order = sorted(range(len(p_values)), key=lambda place: (p_values[place], place))
    steps = {place: (len(p_values) - rank) * p_values[place] for rank, place in enumerate(order)}
    return [min(1.0, max(steps[other] for other in order[: order.index(place) + 1])) for place in range(len(order))]


@settings(max_examples=40)
@given(P_VALUES)
def test_it_is_the_definition(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(plain(p_values))


@settings(max_examples=40)
@given(P_VALUES, st.randoms(use_true_random=False))
def test_order_does_not_matter(p_values: list[float], random: object) -> None:
    places = list(range(len(p_values)))
    random.shuffle(places)  # type: ignore[attr-defined]
    adjusted = holm(p_values)
    assert holm([p_values[place] for place in places]) == pytest.approx([adjusted[place] for place in places])


@settings(max_examples=40)
@given(P_VALUES)
def test_between_p_and_bonferroni_and_in_the_same_order(p_values: list[float]) -> None:
    adjusted = [p for p in holm(p_values) if p is not None]
    for p, after in zip(p_values, adjusted, strict=True):
        assert p <= after <= min(1.0, len(p_values) * p) + 1e-15
    assert sorted(adjusted) == [after for _, after in sorted(zip(p_values, adjusted, strict=True))]


def test_what_has_no_test_does_not_count() -> None:
    assert holm([0.01, None, 0.04, None]) == [0.02, None, 0.04, None]
    assert holm([]) == []
    assert holm([None]) == [None]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="lie in"):
        holm([0.5, wrong])
