"""Writes the report of a study from its artifacts alone: tables, figures, page and TensorBoard runs.

Two reports of the same artifacts have the same tables, byte for byte; times stand in the table of costs only.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd_ray.report.breakdown import by_direction_sheet, by_relation_sheet, per_seed_sheet
from pmd_ray.report.comparisons import comparisons_sheet, comparisons_shown, seeds_caption
from pmd_ray.report.contents import Contents, contents
from pmd_ray.report.costs import cost_sheet, cost_shown
from pmd_ray.report.draw import Drawing, draw_chart, draw_forest
from pmd_ray.report.folder import aside, write_text
from pmd_ray.report.page import page_html, result_of
from pmd_ray.report.paper import paper_sheet, paper_shown
from pmd_ray.report.queries import queries_table
from pmd_ray.report.sheet import Sheet
from pmd_ray.report.study_board import lay_out_runs
from pmd_ray.report.summary import missing_text
from pmd_ray.report.summary_sheets import summary_sheet, summary_shown
from pmd_ray.report.writer import checked_formats, write_figures, write_tables
from pmd_ray.spec.study_record import StudyRecord

if TYPE_CHECKING:
    from pmd_ray.store.store import Store

FORMATS = ("csv", "parquet", "md", "tex", "svg", "png", "html", "tensorboard")
PAGE = "report.html"
QUERIES = "queries.parquet"
TABLES = ("summary", "comparisons", "cost", "per_seed", "by_relation", "by_direction", "paper")
FIGURES = ("mrr_parameters", "forest", "schedules", "mask_rate")
"""What a report may write: one that an earlier report left and this one has no use for is removed."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a report wrote."""

    title: str
    """The study's name."""
    out: Path
    files: tuple[Path, ...]
    table: Sheet
    """The last grade of each variant, for the terminal."""
    summary: Sheet
    """The same as tables/summary.csv."""
    comparisons: Sheet
    """The same as tables/comparisons.csv."""
    missing: tuple[str, ...]
    """Variants of which seeds do not count, each with what is missing."""
    failed: int
    """Stages that failed, vanished or cannot be read, and are not there."""

    def json(self) -> dict[str, Any]:
        """The tables as objects, an infinite bound as null, and where everything lies."""
        return {
            "report": str(self.out.absolute()),
            "files": [path.relative_to(self.out).as_posix() for path in self.files],
            "summary": self.summary.objects(),
            "comparisons": self.comparisons.objects(),
            "missing": list(self.missing),
        }


def write_report(record: StudyRecord, store: Store, out: Path, *, formats: Collection[str] | None = None) -> Written:
    """Write the report of a study, finished or not, into a folder; what an earlier one left there is replaced.

    Args:
        store: Opened at `record.storage`.
        formats: Some of `FORMATS`; None writes all of them. Files of other formats stay as they are.

    Raises:
        UserError: A format is not known, or the artifacts rank different test triples.
        StorageError: The storage does not answer, or the disk refuses; files are whole, older or newer.
    """
    wanted = checked_formats(formats, FORMATS)
    found = contents(record, store)
    drawings = _drawings(found) if wanted & {"svg", "png", "html"} else []
    files = _tables(found, out / "tables", wanted)
    files += write_figures(out / "figures", wanted, drawings, names=FIGURES)
    if "tensorboard" in wanted:
        files += lay_out_runs(found, store, out / "tensorboard")
    if "html" in wanted:
        write_text(out / PAGE, page_html(found, drawings, [path.relative_to(out) for path in files]))
        files.append(out / PAGE)
    return Written(
        title=record.study.name,
        out=out,
        files=tuple(files),
        table=result_of(found, caption=seeds_caption(found.answers)),
        summary=summary_sheet(found.rows),
        comparisons=comparisons_sheet(found.answers),
        missing=tuple(f"{name}: {text}" for name, chain in found.chains.items() if (text := missing_text(chain))),
        failed=len({failure.key for failure in found.failures if not failure.mended}),
    )


def wide_sheets(found: Contents) -> list[Sheet]:
    """The tables for machines."""
    chains = list(found.chains.values())
    sheets = [
        summary_sheet(found.rows),
        comparisons_sheet(found.answers),
        cost_sheet(found.costs),
        per_seed_sheet(found.arms, evidence=found.evidence, numbers=found.numbers),
        by_relation_sheet(chains, evidence=found.evidence, numbers=found.numbers),
        by_direction_sheet(chains, numbers=found.numbers),
    ]
    paper = paper_sheet(found.record, chains, found.numbers.per_seed)
    return [*sheets, *([paper] if paper else [])]


def shown_sheets(found: Contents) -> list[Sheet]:
    """The tables for reading."""
    caption = seeds_caption(found.answers)
    paper = paper_sheet(found.record, list(found.chains.values()), found.numbers.per_seed)
    return [
        summary_shown(found.rows, caption=caption),
        comparisons_shown(found.answers),
        cost_shown(found.costs),
        *([paper_shown(paper)] if paper else []),
    ]


def _tables(found: Contents, folder: Path, wanted: Set[str]) -> list[Path]:
    wide, shown = partial(wide_sheets, found), partial(shown_sheets, found)
    kept = write_tables(folder, wanted, wide=wide, shown=shown, names=TABLES)
    if "parquet" in wanted:
        import pyarrow.parquet as pq

        kept.append(folder / QUERIES)
        with aside(folder / QUERIES) as beside:
            pq.write_table(queries_table(found.arms, found.evidence), beside, compression="zstd")
    return sorted(kept)


def _drawings(found: Contents) -> list[Drawing]:
    drawn = [draw_chart(chart) for chart in found.charts]
    return [draw_forest(found.forest), *drawn] if found.forest else drawn
