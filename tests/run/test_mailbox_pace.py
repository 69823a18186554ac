"""Many stages that tell their steps at once tell fewer each, so that one process can take them in."""

from __future__ import annotations

from typing import Any

import pytest

from pmd_ray.run import mailbox
from pmd_ray.run.mailbox import Mailbox, Sender
from pmd_ray.train.events import EpochKept, StepDone


def a_step(number: int) -> StepDone:
    return StepDone("2", done=number, loss=1.0, tokens_per_second=1.0, utilisation=0.5)


@pytest.mark.parametrize(("writers", "most"), [(1, 50), (40, 50), (1000, 2)])
def test_steps_are_told_now_and_then(writers: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step every hundredth of a second, for ten seconds."""
    now = [100.0]
    monkeypatch.setattr(mailbox.time, "monotonic", lambda: now[0])
    box: Any = object.__new__(Mailbox)
    box._actor = None
    sender: Sender = box.sender(writers=writers)
    told = 0
    for number in range(1000):
        told += sender.is_due(a_step(number))
        assert sender.is_due(EpochKept("2", epoch=1)), "epochs always"
        now[0] += 0.01
    assert most - 1 <= told <= most + 1
    assert told / 10 * writers <= mailbox.STEPS_A_SECOND * 1.1
