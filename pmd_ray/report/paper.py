"""Our figures beside the paper's, where both exist: the paper's graphs, its encoder, its variants by name."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pmd_ray.report.lines import Chain, Line
from pmd_ray.report.measures import METRICS, TITLES, Floats, spread
from pmd_ray.report.plots import PerSeed
from pmd_ray.report.sheet import Cell, Sheet, number, sheet, signed, with_spread
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.presets import PAPER_LAYERS, halving_rates
from pmd_ray.spec.study import BASELINE
from pmd_ray.spec.study_record import StudyRecord

VALUES = Path(__file__).with_name("paper_values.csv")
"""The paper's tables 2 to 4 and figures 2 and 3, as shares of 1. `study`: shipped ablation files; `variant`: one of
theirs; * for any; `place`: where the grade stands in its chain."""
GRAPHS = ("WN18RR", "FB15k-237")
ENCODER = "bert-base"
"""What the encoder's name starts with, its folder left out."""
COLUMNS = ("id", "variant", "grade", "layers", "metric", "ours", "sd", "seeds", "paper", "ours_minus_paper", "source")
SHOWN = ("variant", "grade", "layers", "metric", "ours", "paper", "ours − paper", "seeds", "source")
TEXTS = ("id", "variant", "grade", "metric", "source")
CAPTION = "As shares of 1 (MR: ranks). The paper gives one run for each figure, without a spread."


@dataclass(frozen=True, kw_only=True)
class PaperValue:
    """One figure of the paper."""

    study: str
    dataset: str
    variant: str
    place: str
    layers: int
    mask_rate: float | None
    metric: str
    value: float
    source: str

    def fits(self, line: Line) -> bool:
        """Whether it speaks of this grade of this variant."""
        return (
            self.variant in ("*", line.variant)
            and self.layers == line.layers
            and self.mask_rate in (None, line.mask_rate)
            and self.place == line.slot.value
        )


def why_not(record: StudyRecord) -> str | None:
    """Why the paper has no figures for a study; None where it may have."""
    if record.dataset.name not in GRAPHS:
        return f"the paper has no figures for {record.dataset.name} (it has {' and '.join(GRAPHS)})"
    chain = record.study.variant(BASELINE).arms[0].chain
    name = chain.encoder.name
    if not Path(name).name.startswith(ENCODER) or chain.grades[0].layers != PAPER_LAYERS[0]:
        return f"the paper starts from a BERT of 12 layers, this study from {chain.grades[0].layers} of {name}"
    return None


def paper_sheet(record: StudyRecord, chains: Sequence[Chain], per_seed: PerSeed) -> Sheet | None:
    """One row a figure that both have; None where there is none."""
    if why_not(record) is not None:
        return None
    rows = [_row(line, theirs, per_seed(line, theirs.metric)) for line, theirs in _pairs(record, chains)]
    return sheet("paper", COLUMNS, rows, texts=TEXTS, caption=CAPTION) if rows else None


def paper_shown(found: Sheet) -> Sheet:
    """The same for reading."""
    rows = []
    for cells in found.rows:
        row = dict(zip(found.columns, cells, strict=True))
        digits = 1 if row["metric"] == "mr" else 3
        figures = {key: row[key] for key in ("ours", "sd", "paper", "ours_minus_paper")}
        ours, sd, paper, gap = (value if isinstance(value, float) else None for value in figures.values())
        rows.append(
            {
                "variant": row["variant"],
                "grade": row["grade"],
                "layers": str(row["layers"]),
                "metric": TITLES[str(row["metric"])],
                "ours": with_spread(ours, sd, digits),
                "paper": number(paper, digits),
                "ours − paper": signed(gap, digits),
                "seeds": str(row["seeds"]),
                "source": row["source"],
            }
        )
    return sheet("paper", SHOWN, rows, texts=TEXTS, caption=CAPTION)


def paper_values() -> list[PaperValue]:
    """All figures of the paper, those of a named study first."""
    with VALUES.open(encoding="utf-8", newline="") as file:
        values = [
            PaperValue(
                study=row["study"],
                dataset=row["dataset"],
                variant=row["variant"],
                place=row["place"],
                layers=int(row["layers"]),
                mask_rate=float(row["mask_rate"]) if row["mask_rate"] else None,
                metric=row["metric"],
                value=float(row["value"]),
                source=row["source"],
            )
            for row in csv.DictReader(file)
        ]
    return sorted(values, key=lambda value: value.study == "*")


def is_papers_chain(chain: ChainConfig) -> bool:
    """Whether depths and mask rates are the paper's: 12, 12, 9, 6, 3 at 0.2, 0.1, 0.05, 0."""
    students = chain.grades[1:]
    return tuple(grade.layers for grade in chain.grades) == PAPER_LAYERS and [
        grade.mask.rate for grade in students
    ] == halving_rates(len(students))


def _row(line: Line, theirs: PaperValue, values: Floats) -> dict[str, Cell]:
    ours = float(np.mean(values))
    return {
        "id": line.id,
        "variant": line.variant,
        "grade": line.grade,
        "layers": line.layers,
        "metric": theirs.metric,
        "ours": ours,
        "sd": spread(values),
        "seeds": len(values),
        "paper": theirs.value,
        "ours_minus_paper": ours - theirs.value,
        "source": theirs.source,
    }


def _pairs(record: StudyRecord, chains: Sequence[Chain]) -> Iterator[tuple[Line, PaperValue]]:
    """Each line with the paper's figures for it, one a metric."""
    known = is_papers_chain(record.study.variant(BASELINE).arms[0].chain)
    studies = {record.study.name, Path(record.file).stem} | ({"*"} if known else set())
    values = [v for v in paper_values() if studies & set(v.study.split("|")) and v.dataset == record.dataset.name]
    for chain in chains:
        lines = {(line.slot, line.layers): line for line in chain.lines if line.seeds}  # the last of each depth
        for line in lines.values():
            fitting = [value for value in values if value.fits(line)]
            for metric in METRICS:
                yield from ((line, value) for value in [v for v in fitting if v.metric == metric][:1])
