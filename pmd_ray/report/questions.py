"""The study's questions answered: each pair of each question with its difference, interval, tests and verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pmd_ray.report.lines import Chain, Line, Slot
from pmd_ray.report.measures import Floats
from pmd_ray.spec.study import CompareConfig
from pmd_ray.spec.study_record import StudyRecord
from pmd_ray.stats.compare import Comparison, compare
from pmd_ray.stats.family import adjust
from pmd_ray.stats.mcnemar import mcnemar_over_seeds
from pmd_ray.stats.words import Alternative

DRAWS = 10_000
"""Of the permutation over triples; its seed is fixed, so that two reports agree to the last digit."""
Values = Callable[[str, str], Floats]
"""A metric of one stage, by key and metric: [T] per triple."""
Hits = Callable[[str], Floats]
"""[Q] whether each query of a stage, by key, has rank 1."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One pair of one question on one grade."""

    place: int
    """Of the question in the file, from 0."""
    question: CompareConfig
    variant: str
    control: str
    """Names as the question gives them; an alias stands for what it means."""
    line: Line | None
    against: Line | None
    """The control's grade; None, like `line`, where there is none."""
    seeds: tuple[int, ...] = ()
    """Those that both have."""
    by_seed: tuple[float, ...] = ()
    """The difference of each."""
    comparison: Comparison | None = None
    mcnemar: float | None = None
    """Hits@1, the same queries: exact, the same way in every seed."""
    note: str = ""
    """Why there is no comparison, or what it must be read with."""


def answers(record: StudyRecord, chains: Mapping[str, Chain], *, values: Values, hits: Hits) -> list[Answer]:
    """Every pair of every question in the file's order; Holm's correction runs within each question.

    Args:
        chains: By variant, with the nuisance settings that were chosen.
        values: Must give the same triples in the same order for every stage.
        hits: Likewise, query by query.
    """
    found: list[Answer] = []
    for place, question in enumerate(record.study.compare):
        asked = [
            _answered(answer, values=values, hits=hits)
            for pair in record.study.pairs(question)
            for answer in _paired(place, question, pair, chains, record.aliases())
        ]
        tested = iter(adjust([answer.comparison for answer in asked if answer.comparison is not None]))
        found += [replace(a, comparison=next(tested)) if a.comparison is not None else a for a in asked]
    return found


def partner(line: Line, chain: Chain, control: Chain, *, last: bool) -> tuple[Line | None, str]:
    """What a grade is compared with in another chain, and what must be said of it.

    Args:
        last: Whether the question is about the last grades, whatever their depths.
    """
    if last and line is chain.last and chain.last.slot is not Slot.CONTROL:
        other = control.last
        depths = f"{line.layers} layers against {other.layers}" if other.layers != line.layers else ""
        return other, depths
    if chain.find(line.slot, line.layers) is not line:
        return None, f"a later grade has {line.layers} layers too and is compared"
    found = control.find(line.slot, line.layers)
    return found, "" if found else f"{control.variant} has no {_called(line)} of {line.layers} layers"


def matched(line: Line, against: Line, values: Values, metric: str) -> tuple[tuple[int, ...], Floats, Floats]:
    """The seeds that both count, and the metric of both [S, T] for them."""
    seeds = tuple(seed for seed in line.seeds if seed in against.seeds)
    both = [
        np.stack([values(one.keys[seed], metric) for seed in seeds]) if seeds else np.empty((0, 0))
        for one in (line, against)
    ]
    return seeds, both[0], both[1]


def unpaired(line: Line, against: Line, seeds: Sequence[int]) -> str:
    """Why two grades cannot be compared; empty where they can."""
    if not seeds:
        return "no seed for which both are complete"
    if all(line.keys[seed] == against.keys[seed] for seed in seeds):
        return "the same stages"
    return ""


def _paired(
    place: int,
    question: CompareConfig,
    pair: tuple[str, str],
    chains: Mapping[str, Chain],
    aliases: Mapping[str, str],
) -> Iterator[Answer]:
    """The pair on each grade that the question is about, not yet compared."""
    base = Answer(place=place, question=question, variant=pair[0], control=pair[1], line=None, against=None)
    chain, control = (chains[aliases.get(name, name)] for name in pair)
    if chain is control:
        yield replace(base, note=f"{pair[0]} and {pair[1]} mean the same")
        return
    lines = list(_asked_lines(question.grade, chain, control))
    if not lines:
        what = "students of one depth" if question.grade == "each" else f"a grade of {question.grade} layers"
        yield replace(base, note=f"{pair[0]} and {pair[1]} do not both have {what}")
    for line in lines:
        against, note = partner(line, chain, control, last=question.grade == "last")
        yield replace(base, line=line, against=against, note=note)


def _asked_lines(grade: str, chain: Chain, control: Chain) -> Iterator[Line]:
    match grade:
        case "last":
            yield chain.last
        case "each":
            depths = dict.fromkeys(line.layers for line in chain.lines if line.slot is Slot.LATER)
            both = [chain.find(Slot.LATER, n) for n in depths if control.find(Slot.LATER, n) is not None]
            yield from (line for line in both if line is not None)
        case _:
            for slot in (Slot.LATER, Slot.FIRST):
                line = chain.find(slot, int(grade))
                if line is not None and control.find(slot, int(grade)) is not None:
                    yield line
                    return


def _answered(answer: Answer, *, values: Values, hits: Hits) -> Answer:
    line, against, question = answer.line, answer.against, answer.question
    if line is None or against is None:
        return answer
    seeds, ours_ST, theirs_ST = matched(line, against, values, question.metric)
    why_not = unpaired(line, against, seeds)
    if why_not:
        return replace(answer, seeds=seeds, note=why_not)
    alternative = Alternative(question.alternative)
    margin, note = question.margin, answer.note
    if margin is not None and alternative is Alternative.LESS:
        margin, note = None, "no margin judged: non-inferiority asks for the other side than `less`"
    by_seed = tuple(float(value) for value in (ours_ST - theirs_ST).mean(axis=1))
    hits_ours, hits_theirs = (np.stack([hits(one.keys[seed]) for seed in seeds]) for one in (line, against))
    return replace(
        answer,
        seeds=seeds,
        by_seed=by_seed,
        comparison=compare(ours_ST, theirs_ST, alternative=alternative, margin=margin, draws=DRAWS),
        mcnemar=mcnemar_over_seeds(hits_ours, hits_theirs, alternative),
        note=note,
    )


def _called(line: Line) -> str:
    match line.slot:
        case Slot.FIRST:
            return "first grade"
        case Slot.LATER:
            return "later grade"
        case Slot.CONTROL:
            return "control without a teacher"
