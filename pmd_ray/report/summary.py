"""The main table: every grade of every variant with its metrics, and its MRR against its control's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pmd_ray.report.evidence import Evidence
from pmd_ray.report.lines import Chain, Line
from pmd_ray.report.measures import METRICS
from pmd_ray.report.numbers import Numbers
from pmd_ray.report.questions import Answer, matched, partner, unpaired
from pmd_ray.spec.results import GradeResult
from pmd_ray.spec.study import BASELINE
from pmd_ray.spec.study_record import StudyRecord
from pmd_ray.stats.compare import Comparison, compare
from pmd_ray.stats.interval import Interval
from pmd_ray.stats.words import Alternative

EXPLORATORY = "exploratory"
"""The verdict on a difference that no question of the study asks for: it has no corrected p."""


@dataclass(frozen=True, kw_only=True)
class Against:
    """What a row's MRR is compared with."""

    control: str = ""
    question: str = ""
    asked: bool = False
    """Whether the question asks for this very difference; else it is exploratory."""
    comparison: Comparison | None = None
    note: str = ""
    """Why there is no comparison, or what it must be read with."""


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One grade of one variant, or a variant that means the same as another."""

    variant: str
    line: Line | None
    """None for an alias."""
    result: GradeResult | None
    """Of any of its stages: its size."""
    figures: Mapping[str, Interval]
    """By metric; empty without a seed that counts."""
    sd: Mapping[str, float | None]
    against: Against = Against()
    missing: str = ""
    """The seeds that do not count, and why."""
    same_as: str = ""
    """The variant that an alias stands for."""

    @property
    def verdict(self) -> str:
        """What may be said of the difference; empty where there is none."""
        comparison = self.against.comparison
        if comparison is None:
            return ""
        return comparison.verdict.value if self.against.asked or comparison.p is None else EXPLORATORY

    @property
    def note(self) -> str:
        """All that must be said of the row."""
        return f"= {self.same_as}" if self.same_as else self.against.note


def summary_rows(
    record: StudyRecord, chains: Mapping[str, Chain], found: Sequence[Answer], *, evidence: Evidence, numbers: Numbers
) -> list[SummaryRow]:
    """All rows in the file's order, a chain's grades in the order of training.

    Args:
        chains: By variant, with the nuisance settings that were chosen.
        found: The questions' answers; a row that one of them is about takes its comparison from there.
    """
    rows = []
    for variant in record.study.variants:
        if variant.alias_of is not None:
            rows.append(
                SummaryRow(variant=variant.name, line=None, result=None, figures={}, sd={}, same_as=variant.alias_of)
            )
            continue
        chain = chains[variant.name]
        rows += [_row(record, line, chains, found, evidence=evidence, numbers=numbers) for line in chain.lines]
    return rows


def missing_text(chain: Chain) -> str:
    """The seeds that do not count, and why: `seed 2: grade 6 failed (oom), grade 3 not trained`."""
    by_seed: dict[int, list[str]] = {}
    for gap in chain.gaps:
        by_seed.setdefault(gap.seed, []).append(f"grade {gap.grade} {gap.why}")
    return "; ".join(f"seed {seed}: {', '.join(whys)}" for seed, whys in by_seed.items())


def _row(
    record: StudyRecord,
    line: Line,
    chains: Mapping[str, Chain],
    found: Sequence[Answer],
    *,
    evidence: Evidence,
    numbers: Numbers,
) -> SummaryRow:
    results = [evidence.stages[key].result for key in line.keys.values() if key in evidence.stages]
    return SummaryRow(
        variant=line.variant,
        line=line,
        result=results[0] if results else None,
        figures=numbers.intervals(line),
        sd={metric: numbers.sd(line, metric) for metric in METRICS},
        against=_against(record, line, chains, found, numbers),
        missing=missing_text(chains[line.variant]),
    )


def _against(
    record: StudyRecord, line: Line, chains: Mapping[str, Chain], found: Sequence[Answer], numbers: Numbers
) -> Against:
    """A line's comparison of MRR with the baseline where a pair asks for it, else with the other of its first pair.

    The question's own comparison where it asks for this grade, seen from the other side where the line is the control
    of that pair; else an exploratory one. The baseline is what others are compared with.
    """
    aliases = record.aliases()
    sides = [(aliases.get(a.variant, a.variant), aliases.get(a.control, a.control), a) for a in found]
    named = [side for side in sides if line.variant in side[:2]]
    if line.variant == BASELINE:
        return Against()
    other, last = (BASELINE, False)
    if named:
        with_baseline = [side for side in named if BASELINE in side[:2]]
        variant, control, first = (with_baseline or named)[0]
        other = control if variant == line.variant else variant
        last = first.question.grade == "last"
    for variant, control, answer in named:
        if answer.question.metric != "mrr" or other not in (variant, control):
            continue
        told = Against(control=other, question=answer.question.question, asked=True, note=answer.note)
        if answer.line is line:
            return replace(told, comparison=answer.comparison)
        if answer.against is line and answer.question.margin is None:
            return replace(told, comparison=answer.comparison and mirrored(answer.comparison))
    return _exploratory(line, chains[line.variant], chains[other], numbers, last=last)


def _exploratory(line: Line, chain: Chain, control: Chain, numbers: Numbers, *, last: bool) -> Against:
    told = Against(control=control.variant)
    if chain is control:
        return Against()
    against, note = partner(line, chain, control, last=last)
    if against is None:
        return replace(told, note=note)
    seeds, ours_ST, theirs_ST = matched(line, against, numbers.values, "mrr")
    why_not = unpaired(line, against, seeds)
    if why_not:
        return replace(told, note=why_not)
    # The permutation over triples is for the questions' own table; one draw is the fewest that it takes.
    return replace(told, comparison=compare(ours_ST, theirs_ST, draws=1), note=note)


def mirrored(comparison: Comparison) -> Comparison:
    """The same test of b - a: what it looked for in a - b it looks for on the other side, and p stays.

    ValueError for one with a margin, which says nothing about the other side.
    """
    if comparison.margin is not None:
        raise ValueError("non-inferiority of a says nothing about b")
    gap = comparison.difference
    turned = {Alternative.GREATER: Alternative.LESS, Alternative.LESS: Alternative.GREATER}
    return replace(
        comparison,
        difference=replace(gap, mean=-gap.mean, low=-gap.high, high=-gap.low),
        alternative=turned.get(comparison.alternative, comparison.alternative),
    )
