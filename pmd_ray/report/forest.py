"""What the forest plot shows: each difference with its interval and its seeds, question by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pmd_ray.report.comparisons import depths_text
from pmd_ray.report.measures import TITLES
from pmd_ray.report.questions import Answer
from pmd_ray.stats.words import Over


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One comparison."""

    label: str
    mean: float
    low: float
    high: float
    seeds: tuple[float, ...]
    """The difference of each seed."""


@dataclass(frozen=True, kw_only=True)
class ForestGroup:
    """One question."""

    title: str
    rows: tuple[ForestRow, ...]
    margin: float | None


@dataclass(frozen=True, kw_only=True)
class Forest:
    """The whole plot."""

    groups: tuple[ForestGroup, ...]


def forest(answers: Sequence[Answer]) -> Forest | None:
    """None where nothing can be compared."""
    groups = []
    for place in dict.fromkeys(answer.place for answer in answers):
        asked = [answer for answer in answers if answer.place == place]
        rows = [row for answer in asked if (row := _row(answer)) is not None]
        if rows:
            question = asked[0].question
            title = f"{question.question} ({TITLES[question.metric]})"
            groups.append(ForestGroup(title=title, rows=tuple(rows), margin=question.margin))
    return Forest(groups=tuple(groups)) if groups else None


def _row(answer: Answer) -> ForestRow | None:
    line, against, comparison = answer.line, answer.against, answer.comparison
    if line is None or against is None or comparison is None or comparison.difference.over is Over.NOTHING:
        return None
    gap = comparison.difference
    return ForestRow(
        label=f"{answer.variant} − {answer.control}, {depths_text(line, against)} layers",
        mean=gap.mean,
        low=gap.low,
        high=gap.high,
        seeds=answer.by_seed,
    )
