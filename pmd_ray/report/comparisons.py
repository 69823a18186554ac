"""The table of comparisons: one row for each pair and grade of each question, with every test and what it is about."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_ray.report.lines import Line
from pmd_ray.report.measures import TITLES
from pmd_ray.report.questions import Answer
from pmd_ray.report.sheet import Cell, Sheet, interval, p_value, sheet, signed
from pmd_ray.spec.study import CompareConfig
from pmd_ray.stats.caption import caption
from pmd_ray.stats.permutation import LABEL

P_TRIPLES = f"p ({LABEL})"
MCNEMAR = f"McNemar Hits@1 ({LABEL})"
COLUMNS = (
    *("question", "variant", "control", "grade", "layers", "control_grade", "control_layers", "id", "control_id"),
    *("metric", "alternative", "margin", "seeds", "triples", "difference", "low", "high"),
    *("p", "p_holm", "p_interval", "p_sign_flip_over_seeds", P_TRIPLES, "p_mcnemar_hits@1", "smallest_p", "tests"),
    *("verdict", "note"),
)
SHOWN = (
    *("question", "variant", "control", "layers", "metric", "difference", "95 % interval", "p", "p Holm", "verdict"),
    *("seeds", P_TRIPLES, MCNEMAR, "note"),
)
TEXTS = (
    *("question", "variant", "control", "grade", "control_grade", "id", "control_id", "metric", "alternative"),
    *("verdict", "note"),
)


def comparisons_sheet(answers: Sequence[Answer]) -> Sheet:
    """Every figure with every digit."""
    return sheet("comparisons", COLUMNS, map(_wide, answers), texts=TEXTS)


def comparisons_shown(answers: Sequence[Answer]) -> Sheet:
    """The same for reading, with what so many seeds can support under it."""
    return sheet(
        "comparisons", SHOWN, map(_shown, answers), texts=TEXTS, optional=("note",), caption=seeds_caption(answers)
    )


def question_shown(answers: Sequence[Answer]) -> Sheet:
    """One question's table, which its heading names."""
    named = ("question", "metric")
    rows = [{key: value for key, value in _shown(answer).items() if key not in named} for answer in answers]
    question = answers[0].question
    caption = f"Metric: {TITLES[question.metric]}. {_sides(question)}".strip()
    columns = [column for column in SHOWN if column not in named]
    return sheet(question.question, columns, rows, texts=TEXTS, optional=("note",), caption=caption)


def seeds_caption(answers: Sequence[Answer]) -> str:
    """What the comparisons support, by how many seeds they have."""
    return " ".join(seeds_captions(answers))


def seeds_captions(answers: Sequence[Answer]) -> list[str]:
    """A paragraph for each number of seeds."""
    counts = sorted({len(answer.seeds) for answer in answers if answer.comparison is not None}, reverse=True)
    if not counts:
        return ["No pair could be compared yet."]
    if len(counts) == 1:
        return [caption(counts[0])]
    return [f"Rows with {count} seed{'s' * (count > 1)}: {caption(count)}" for count in counts]


def _sides(question: CompareConfig) -> str:
    """What the question was set up to find."""
    if question.margin is not None and question.alternative != "less":
        return f"p is about being worse by {question.margin:g} or more; the verdict is about non-inferiority."
    match question.alternative:
        case "two-sided":
            return ""
        case "greater":
            return "One-sided: only an improvement was to be shown."
        case "less":
            return "One-sided: only a loss was to be shown."


def _wide(answer: Answer) -> dict[str, Cell]:
    question, line, against, c = answer.question, answer.line, answer.against, answer.comparison
    cells: dict[str, Cell] = {
        "question": question.question,
        "variant": answer.variant,
        "control": answer.control,
        "metric": question.metric,
        "alternative": question.alternative,
        "margin": question.margin,
        "seeds": len(answer.seeds),
        "note": answer.note,
    }
    if line is not None:
        cells |= {"grade": line.grade, "layers": line.layers, "id": line.id}
    if against is not None:
        cells |= {"control_grade": against.grade, "control_layers": against.layers, "control_id": against.id}
    if c is not None:
        cells |= {
            "triples": c.difference.triples,
            "difference": c.difference.mean,
            "low": c.difference.low,
            "high": c.difference.high,
            "p": c.p,
            "p_holm": c.p_adjusted,
            "p_interval": c.p_interval,
            "p_sign_flip_over_seeds": c.p_seeds,
            P_TRIPLES: c.p_triples,
            "p_mcnemar_hits@1": answer.mcnemar,
            "smallest_p": c.smallest_p,
            "tests": c.family,
            "verdict": c.verdict.value,
        }
    return cells


def _shown(answer: Answer) -> dict[str, Cell]:
    line, against, c = answer.line, answer.against, answer.comparison
    cells: dict[str, Cell] = {
        "question": answer.question.question,
        "variant": answer.variant,
        "control": answer.control,
        "layers": depths_text(line, against),
        "metric": TITLES[answer.question.metric],
        "seeds": str(len(answer.seeds)),
        "note": answer.note,
    }
    if c is not None:
        cells |= {
            "difference": signed(c.difference.mean),
            "95 % interval": interval(c.difference.low, c.difference.high, sign=True),
            "p": p_value(c.p),
            "p Holm": p_value(c.p_adjusted),
            "verdict": c.verdict.value,
            P_TRIPLES: p_value(c.p_triples),
            MCNEMAR: p_value(answer.mcnemar),
        }
    return cells


def depths_text(line: Line | None, against: Line | None) -> str:
    """`6`, or `6 : 3` where the control's grade has another depth."""
    if line is None:
        return ""
    return str(line.layers) if against is None or against.layers == line.layers else f"{line.layers} : {against.layers}"
