"""What comes ahead comes in order, once, and only one item ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.train.ahead import ahead


@given(st.lists(st.none() | st.integers(), max_size=20))
def test_the_same_items_in_the_same_order(items: list[int | None]) -> None:
    assert list(ahead(iter(items))) == items


def test_one_is_made_while_another_is_used_and_no_more() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    coming = ahead(items())
    assert next(coming) == 0
    assert second.wait(10), "the next one is made although nobody asks for it yet"
    assert made == [0, 1]
    assert list(coming) == [1, 2, 3, 4] and made == [0, 1, 2, 3, 4]


def test_an_error_comes_where_its_item_would() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ValueError("broken")

    coming = ahead(items())
    assert next(coming) == 0
    with pytest.raises(ValueError, match="broken"):
        next(coming)


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    for item in ahead(iter(range(100))):
        if item == 3:
            break
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]
    assert not names and threading.active_count() <= before
