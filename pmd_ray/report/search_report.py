"""Writes the report of a search: tables, figures, page, TensorBoard runs, and the chain that was found."""

from __future__ import annotations

import re
from collections.abc import Collection, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd_ray.report.draw import Drawing
from pmd_ray.report.folder import write_text
from pmd_ray.report.search_board import lay_out_trials
from pmd_ray.report.search_contents import SearchContents, search_contents
from pmd_ray.report.search_draw import draw_fronts, draw_incumbents, draw_parallels, draw_slices, draw_weights
from pmd_ray.report.search_fronts import pareto_sheet
from pmd_ray.report.search_importance import importance_sheet, importance_shown
from pmd_ray.report.search_isolation import isolation_sheet, isolation_shown
from pmd_ray.report.search_page import search_page_html, warnings_of
from pmd_ray.report.search_sharing import sharing_sheet
from pmd_ray.report.search_sheets import best_sheet, best_shown, trials_sheet, trials_shown
from pmd_ray.report.sheet import Sheet
from pmd_ray.report.writer import checked_formats, write_figures, write_tables
from pmd_ray.spec.disk import storing
from pmd_ray.spec.search_record import SearchRecord
from pmd_ray.spec.study_record import StudyRecord

if TYPE_CHECKING:
    from pmd_ray.store.store import Store

FORMATS = ("csv", "md", "tex", "svg", "png", "html", "tensorboard", "yaml")
PAGE = "report.html"
TABLES = ("trials", "best", "importance", "isolation", "pareto", "sharing")
OURS = re.compile(r"best(-\d+)?\.yaml")
FIGURES = ("incumbent", "pareto", "slices", "parallel", "weights")
"""What a report may write: one that an earlier report left and this one has no use for is removed."""


@dataclass(frozen=True, kw_only=True)
class SearchWritten:
    """What a report wrote."""

    title: str
    """The search's name."""
    out: Path
    files: tuple[Path, ...]
    table: Sheet
    """The best of each round beside the default, for the terminal."""
    best: Sheet
    """The same as tables/best.csv."""
    confirmed: tuple[str, ...]
    """What the confirmation says, one sentence for each of the best."""
    warnings: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """The tables as objects, and where everything lies."""
        return {
            "report": str(self.out.absolute()),
            "files": [path.relative_to(self.out).as_posix() for path in self.files],
            "best": self.best.objects(),
            "confirmed": list(self.confirmed),
            "warnings": list(self.warnings),
        }


def write_search_report(
    record: SearchRecord,
    store: Store,
    out: Path,
    *,
    formats: Collection[str] | None = None,
    confirmed: StudyRecord | None = None,
) -> SearchWritten:
    """Write the report of a search, finished or not, into a folder; what an earlier one left there is replaced.

    Args:
        store: Opened at `record.storage`.
        formats: Some of `FORMATS`; None writes all of them. Files of other formats stay as they are.
        confirmed: The confirming study, once it has begun; its own report is another one.

    Raises:
        UserError: A format is not known, or the confirmation's artifacts rank different test triples.
        SpecError: The chain that was found cannot be built by this version.
        StorageError: The storage does not answer, or the disk refuses; files are whole, older or newer.
    """
    wanted = checked_formats(formats, FORMATS)
    found = search_contents(record, store, confirmed=confirmed)
    drawings = drawings_of(found) if wanted & {"svg", "png", "html"} else []
    files = _best_files(found, out, wanted)
    wide, shown = partial(wide_sheets, found), partial(shown_sheets, found)
    files += write_tables(out / "tables", wanted, wide=wide, shown=shown, names=TABLES)
    files += write_figures(out / "figures", wanted, drawings, names=FIGURES)
    if "html" in wanted:
        write_text(out / PAGE, search_page_html(found, drawings, [path.relative_to(out) for path in files]))
        files.append(out / PAGE)
    if "tensorboard" in wanted:
        files += lay_out_trials(record, out / "tensorboard")
    return SearchWritten(
        title=record.search.name,
        out=out,
        files=tuple(files),
        table=best_shown(found.rounds),
        best=best_sheet(found.rounds),
        confirmed=tuple(one.sentence for one in found.confirmed),
        warnings=warnings_of(found),
    )


def wide_sheets(found: SearchContents) -> list[Sheet]:
    """The tables for machines; those without a row are left out, but for the trials."""
    sheets = [
        best_sheet(found.rounds),
        importance_sheet(found.importances),
        isolation_sheet(found.isolated),
        pareto_sheet(found.fronts),
        sharing_sheet(found.sharing, gpu=found.gpu),
    ]
    return [trials_sheet(found.record), *(one for one in sheets if one.rows)]


def shown_sheets(found: SearchContents) -> list[Sheet]:
    """The tables for reading."""
    sheets = [
        best_shown(found.rounds),
        importance_shown(found.importances),
        isolation_shown(found.isolated),
        sharing_sheet(found.sharing, gpu=found.gpu),
    ]
    return [trials_shown(found.record), *(one for one in sheets if one.rows)]


def drawings_of(found: SearchContents) -> list[Drawing]:
    """Every figure that has something to show."""
    drawn: list[Drawing] = []
    if found.incumbents:
        drawn.append(draw_incumbents(found.incumbents))
    if found.fronts:
        drawn.append(draw_fronts(found.fronts))
    if found.slices:
        drawn.append(draw_slices(found.slices))
    if found.parallels:
        drawn.append(draw_parallels(found.parallels))
    if found.weights:
        drawn.append(draw_weights(found.weights))
    return drawn


def _best_files(found: SearchContents, out: Path, wanted: Set[str]) -> list[Path]:
    if "yaml" not in wanted:
        return []
    kept = [out / name for name in found.best_files]
    for path in kept:
        write_text(path, found.best_files[path.name])
    with storing(out):
        for path in {*out.glob("best-*.yaml"), out / "best.yaml"} - set(kept):
            if OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
    return kept
