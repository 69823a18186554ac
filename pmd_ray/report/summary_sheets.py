"""The main table as sheets: every digit for machines, rounded for reading, and the last grades alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pmd_ray.report.lines import Line, Role, Slot
from pmd_ray.report.measures import METRICS, TITLES
from pmd_ray.report.sheet import Cell, Sheet, interval, millions, number, p_value, sheet, signed, with_spread
from pmd_ray.report.summary import SummaryRow
from pmd_ray.spec.study import BASELINE

PER_METRIC = ("mean", "sd", "low", "high")
COLUMNS = (
    *("id", "variant", "grade", "layers", "role", "parameters", "parameters_without_embeddings", "mask_rate", "seeds"),
    *(f"{metric}_{part}" for metric in METRICS for part in PER_METRIC),
    *("difference", "difference_low", "difference_high", "p", "p_holm", "verdict", "control", "question"),
    *("tuned", "missing", "note"),
)
GAP = ("MRR − control", "95 % interval", "p", "p Holm", "verdict")
SHOWN = (
    *("variant", "grade", "layers", "parameters", "mask", "seeds", *TITLES.values(), "MRR, 95 %"),
    *("control", *GAP, "tuned", "id", "note"),
)
RESULT = (
    *("variant", "MRR", "control", "MRR − control", "95 % interval", "p Holm", "verdict", "teacher's MRR"),
    *("without teacher", "Hits@1", "Hits@10", "layers", "parameters", "seeds", "tuned", "id", "note"),
)
TEXTS = (*("id", "variant", "grade", "role", "verdict", "control", "question", "tuned", "missing", "note"),)


def summary_sheet(rows: Sequence[SummaryRow]) -> Sheet:
    """Every figure with every digit."""
    return sheet("summary", COLUMNS, map(_wide, rows), texts=TEXTS)


def summary_shown(rows: Sequence[SummaryRow], *, caption: str) -> Sheet:
    """The same for reading: mean ± standard deviation, differences with their interval."""
    said = [
        _shown(row, missing=place == 0 or row.variant != rows[place - 1].variant)  # once for all of a variant's rows
        for place, row in enumerate(rows)
    ]
    return sheet("summary", SHOWN, said, texts=TEXTS, optional=("tuned", "note"), caption=caption)


def result_shown(rows: Sequence[SummaryRow], last: Mapping[str, Line], *, caption: str) -> Sheet:
    """The last grade of each variant, beside its chain's teacher and the same network without one.

    Args:
        last: By variant, the line of its last grade.
    """
    found = []
    for row in rows:
        if row.line is not None and row.line is not last[row.variant]:
            continue
        cells = _shown(row, missing=True)
        chain = [other for other in rows if other.variant == row.variant and other.line is not None]
        first = [
            other for other in chain if other.line is not row.line and other.line and other.line.slot is Slot.FIRST
        ]
        alone = [other for other in chain if other.line and row.line and other.line.control_of == row.line.grade]
        cells["teacher's MRR"] = _mrr(first)
        cells["without teacher"] = _mrr(alone)
        found.append({key: value for key, value in cells.items() if key in RESULT})
    if {cells["control"] for cells in found if cells.get("control")} <= {BASELINE}:
        found = [cells | {"control": None} for cells in found]
        caption = f"Differences are to the baseline. {caption}"
    optional = ("parameters", "control", "teacher's MRR", "without teacher", "tuned", "note")
    return sheet("result", RESULT, found, texts=TEXTS, optional=optional, caption=caption)


def _wide(row: SummaryRow) -> dict[str, Cell]:
    if row.line is None:
        return {"variant": row.variant, "note": row.note}
    line, result, against = row.line, row.result, row.against
    cells: dict[str, Cell] = {
        "id": line.id,
        "variant": row.variant,
        "grade": line.grade,
        "layers": line.layers,
        "role": line.role.value,
        "parameters": result.parameters if result else None,
        "parameters_without_embeddings": result.parameters - result.embedding_parameters if result else None,
        "mask_rate": line.mask_rate,
        "seeds": len(line.seeds),
        "verdict": row.verdict,
        "control": against.control,
        "question": against.question,
        "tuned": line.arm,
        "missing": row.missing,
        "note": row.note,
    }
    for metric, figure in row.figures.items():
        parts = (figure.mean, row.sd[metric], figure.low, figure.high)
        cells |= {f"{metric}_{part}": value for part, value in zip(PER_METRIC, parts, strict=True)}
    if against.comparison is not None:
        gap = against.comparison.difference
        cells |= {"difference": gap.mean, "difference_low": gap.low, "difference_high": gap.high}
        cells |= {"p": against.comparison.p, "p_holm": against.comparison.p_adjusted}
    return cells


def _shown(row: SummaryRow, *, missing: bool) -> dict[str, Cell]:
    line, comparison = row.line, row.against.comparison
    if line is None:
        return {"variant": row.variant, "note": row.note}
    cells: dict[str, Cell] = {
        "control": row.against.control,
        "variant": row.variant,
        "grade": grade_text(line),
        "layers": str(line.layers),
        "parameters": millions(row.result.parameters if row.result else None),
        "mask": f"{line.mask_rate:g}",
        "seeds": str(len(line.seeds)),
        "tuned": line.arm,
        "id": line.id,
        "note": "; ".join(part for part in (row.note, row.missing if missing else "") if part),
    }
    for metric, figure in row.figures.items():
        cells[TITLES[metric]] = with_spread(figure.mean, row.sd[metric], 1 if metric == "mr" else 3)
    if "mrr" in row.figures:
        cells["MRR, 95 %"] = interval(row.figures["mrr"].low, row.figures["mrr"].high)
    if comparison is not None:
        gap = comparison.difference
        parts = (signed(gap.mean), interval(gap.low, gap.high, sign=True), p_value(comparison.p))
        cells |= dict(zip(GAP, (*parts, p_value(comparison.p_adjusted), row.verdict), strict=True))
    return cells


def grade_text(line: Line) -> str:
    """`6`, or `6 without teacher`."""
    return f"{line.control_of or line.grade} {Role.ALONE}" if line.role is Role.ALONE else line.grade


def _mrr(rows: Sequence[SummaryRow]) -> Cell:
    figures = [row.figures["mrr"] for row in rows if row.figures]
    return number(figures[-1].mean) if figures else None
