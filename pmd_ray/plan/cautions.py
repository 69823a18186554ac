"""What to know before a study is started: what its seeds cannot show, what nothing reads, what will not do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pmd_ray.plan.power import QuestionPower
from pmd_ray.plan.questions import compared
from pmd_ray.plan.tree import StageTree
from pmd_ray.plan.unread import unread_settings
from pmd_ray.spec.study import BASELINE, CompareConfig, StudyConfig

MEMORY_SHARE = 0.9
"""Of the machine's memory that stages may fill."""
SURELY = 1.25
"""How far over a budget an estimate must be to leave no doubt."""
NAMED_AT_MOST = 4


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What of the machine and the costs a study is held against."""

    hours: float
    """Left to train."""
    unit: str
    """`CPU` or `GPU`."""
    stages: int
    """Left to train."""
    slots: int
    largest_stage: float
    """Bytes."""
    memory: int | None
    """Bytes of the machine, or of all GPUs that stages share."""


def cautions(
    study: StudyConfig, tree: StageTree, questions: Sequence[QuestionPower], here: Circumstances
) -> tuple[str, ...]:
    """Every warning, a sentence or two each, none twice."""
    found: list[str] = []
    found += _seeds(questions) if questions else ()
    for compare, power in zip(study.compare, questions, strict=True):
        found += _margin(power)
        found += _grades(study, compare, tree)
    found += _merged(study)
    found += _unread(study)
    found += _nuisance(study, tree)
    found += _budget(study, here)
    found += _memory(here)
    return tuple(dict.fromkeys(found))


def _seeds(questions: Sequence[QuestionPower]) -> Iterator[str]:
    """The floor of the exact test over seeds, and what would help; once for each alternative."""
    if questions[0].seeds == 1:
        yield "1 seed, no test: differences between variants cannot be told from luck; take 2 seeds or more"
        return
    for sided in ("two-sided", "one-sided"):
        asked = [q for q in questions if q.margin is None and (q.alternative == "two-sided") == (sided == "two-sided")]
        failing = [q for q in asked if (q.smallest_p or 0.0) * q.comparisons > 1 - q.level + 1e-12]
        if failing:
            yield _floor(sided, failing, of=len(questions))


def _floor(sided: str, failing: Sequence[QuestionPower], *, of: int) -> str:
    first, most = failing[0], max(failing, key=lambda question: question.comparisons)
    floor = first.smallest_p or 0.0
    text = f"a {sided} sign-flip test over {first.seeds} seeds cannot go below p = {floor:.4g}"
    if most.comparisons > 1:
        text += f" ({min(1.0, floor * most.comparisons):.3g} adjusted for {most.comparisons} comparisons)"
    where = f"in {len(failing)} of {of} questions" if of > 1 else "whatever the values"
    fewest = sorted({question.fewest_seeds for question in failing})
    ways = [f"take {' to '.join(map(str, {fewest[0]: 0, fewest[-1]: 0}))} seeds"]
    limit = 1 - first.level + 1e-12
    if sided == "two-sided" and floor / 2 * most.comparisons <= limit:
        ways.append("name a side beforehand (alternative: greater or less)")
    if floor <= limit < floor * most.comparisons:
        few = int(limit / floor)
        ways.append(f"ask at most {few} pair{'' if few == 1 else 's'}")
    return f"{text}: nothing can be shown at {1 - first.level:.2g} {where}; {', or '.join(ways)}"


def _margin(power: QuestionPower) -> Iterator[str]:
    """A margin that these seeds and triples are too few for."""
    if power.margin is not None and power.smallest_margin is not None and power.smallest_margin > power.margin:
        yield (
            f"a margin of {power.margin:g} in {power.metric} is narrow: equal variants are shown to be non-inferior "
            f"with {power.power:.0%} probability from {power.smallest_margin:.3f} on; take more seeds or a wider one"
        )


def _grades(study: StudyConfig, compare: CompareConfig, tree: StageTree) -> Iterator[str]:
    """Grades that a variant lacks, final depths that differ, pairs that are one stage."""
    lacking: dict[str, list[str]] = {}
    deeper: list[str] = []
    same: list[str] = []
    for pair in compared(study, compare, tree):
        names = f"{pair.variant} and {pair.control}"
        for name, stage in ((pair.variant, pair.stage), (pair.control, pair.against)):
            if stage is None and name not in lacking.setdefault(compare.grade, []):
                lacking[compare.grade].append(name)
        if pair.stage is None or pair.against is None:
            continue
        if pair.stage.key == pair.against.key:
            same.append(names if compare.grade != "each" else f"{names} at {pair.stage.layers} layers")
        elif pair.stage.layers != pair.against.layers:
            deeper.append(f"{pair.variant} ({pair.stage.layers} layers) with {pair.control} ({pair.against.layers})")
    for grade, names_lacking in lacking.items():
        if names_lacking:
            yield (
                f"compare.grade: {grade} layers asked for, which {_listed(names_lacking)} "
                f"{'have' if len(names_lacking) > 1 else 'has'} not; left out"
            )
    if deeper:
        yield (
            f"last grades of unlike depth are compared: {_listed(deeper)}; a difference may be depth alone "
            "(compare.grade: each, or a number of layers)"
        )
    if same and compare.grade != "each":
        yield f"{_listed(same)} end in the same stage: there is nothing to compare"


def _merged(study: StudyConfig) -> Iterator[str]:
    """Cells of a product that mean the same as an earlier variant."""
    by_source: dict[str, list[str]] = {}
    for variant in study.variants:
        if variant.alias_of is not None:
            by_source.setdefault(variant.alias_of, []).append(variant.name)
    for source, names in by_source.items():
        called = "the baseline" if source == BASELINE else source
        yield f"merged: {_listed(names)} mean{'s' if len(names) == 1 else ''} the same as {called}, and its runs serve"


def _unread(study: StudyConfig) -> Iterator[str]:
    for variant, key, is_baseline in unread_settings(study):
        why = "is what the baseline has already" if is_baseline else "nothing reads it there"
        yield f"variants.{variant}.{key}: {why}; leave it out"


def _nuisance(study: StudyConfig, tree: StageTree) -> Iterator[str]:
    """A grid that multiplies costs; settings of it that nothing reads."""
    arms = len(study.variants[0].arms)
    if arms < 2:
        return
    meanings: dict[str, set[tuple[str, ...]]] = {}
    for run in tree.runs:
        if run.seed == study.seeds[0]:
            meanings.setdefault(run.variant, set()).add(tuple(stage.key for stage in run.stages))
    if all(len(found) == 1 for found in meanings.values()):
        yield f"roles.nuisance: nothing reads {', '.join(study.roles.nuisance)}; its values make no difference"
        return
    yield (
        f"roles.nuisance tries {arms} choices for every variant and seed ({', '.join(study.roles.nuisance)}): "
        f"about {arms} times the cost"
    )


def _budget(study: StudyConfig, here: Circumstances) -> Iterator[str]:
    budget = study.budget
    if budget.hours is not None and here.hours > budget.hours:
        verdict = "will not do" if here.hours > SURELY * budget.hours else "may not do"
        yield (
            f"budget.hours: {budget.hours:g} {here.unit}-hours {verdict}, about {here.hours:.2g} are needed; "
            "drop seeds or variants, train fewer steps, or raise it"
        )
    if budget.stages is not None and here.stages > budget.stages:
        yield (
            f"budget.stages: {budget.stages} will not do, {here.stages} are left to train; "
            "drop seeds or variants, or raise it"
        )


def _memory(here: Circumstances) -> Iterator[str]:
    if here.memory is None:
        return
    room = here.memory * MEMORY_SHARE
    at_once = min(here.slots, max(1, here.stages))
    if at_once * here.largest_stage <= room or not here.stages:
        return
    fit = int(room // here.largest_stage)
    way = f"use --slots {fit}" if fit else "lower optimiser.micro_batch (the same experiment), or take a larger machine"
    taken, there = at_once * here.largest_stage / 1e9, here.memory / 1e9
    plural = "s" if at_once > 1 else ""
    yield f"memory: {at_once} stage{plural} at once take about {taken:.1f} GB of {there:.1f} GB; {way}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_AT_MOST])
    left = len(names) - NAMED_AT_MOST
    return f"{shown} and {left} more" if left > 0 else shown
