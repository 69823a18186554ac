"""What a search tells its caller while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pmd_ray.spec.search_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class TrialAsked:
    """A trial starts, or starts again."""

    trial: TrialRecord


@dataclass(frozen=True, kw_only=True)
class TrialTold:
    """A trial has ended."""

    trial: TrialRecord


@dataclass(frozen=True, kw_only=True)
class RoundBegun:
    """A round begins; `trials` at most."""

    name: str
    trials: int | None


SearchEvent = TrialAsked | TrialTold | RoundBegun
SearchListener = Callable[[SearchEvent], None]


def untold(event: SearchEvent) -> None:
    """A listener that listens to nothing."""
