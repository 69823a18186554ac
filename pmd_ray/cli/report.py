"""`pmd report`: tables, figures, page and TensorBoard runs of a study or a search, from its artifacts alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.options import EitherFormats, Json, formats_of
from pmd_ray.cli.output import print_json, print_table, say, warn
from pmd_ray.cli.quiet import quieten

if TYPE_CHECKING:
    from pmd_ray.report.study_report import Written

COLUMNS = (
    *("variant", "layers", "MRR", "Hits@1", "Hits@10", "teacher's MRR", "without teacher", "control", "MRR − control"),
    *("95 % interval", "p Holm", "verdict", "seeds", "tuned", "id", "note"),
)
"""Of the table in the terminal, where they hold anything."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("report")(report)


def report(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A study's folder, such as runs/quickstart.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the report goes (default: the study's folder).")
    ] = None,
    formats: EitherFormats = None,
    json: Json = False,
) -> None:
    """Write the tables, figures and page of a study or search, finished or not; nothing is trained."""
    quieten(context, loads_models=False)
    from pmd_ray.report.study_report import write_report
    from pmd_ray.spec.search_folder import is_search
    from pmd_ray.spec.study_folder import read_record
    from pmd_ray.store.store import Store

    if is_search(run):
        from pmd_ray.cli.search_report import report_search

        report_search(run, out, formats=formats_of(formats), json=json)
        return
    record = read_record(run)
    store = Store.open(record.storage, create=False)
    written = write_report(record, store, out or run, formats=formats_of(formats))
    if json:
        print_json({"study": record.study.name, **written.json()})
    show_written(written, out or run, json=json)


def show_written(written: Written, out: Path, *, json: bool = False) -> None:
    """The table of results, what it supports, and where everything lies; to standard error with `json`."""
    table = written.table
    columns = [name for name in COLUMNS if name in table.columns and any(table.column(name))]
    rows = zip(*(map(_cell, table.column(name)) for name in columns), strict=True)
    title = f"{written.title}: test split, last grade, mean ± standard deviation over seeds"
    print_table(columns, list(rows), title=title, json=json)
    say(f"\n{table.caption}", json=json)
    for line in written.missing:
        warn(line)
    places = {"tables": out / "tables", "figures": out / "figures", "page": out / "report.html"}
    lines = [f"{name}: {path}" for name, path in places.items() if wrote(written.files, path)]
    board = out / "tensorboard"
    lines += [f"curves: tensorboard --logdir {board}"] if wrote(written.files, board) else []
    say("\n".join(["", *lines]), json=json)


def wrote(files: Iterable[Path], place: Path) -> bool:
    """Whether a report wrote a file, or anything in a folder."""
    return any(place == path or place in path.parents for path in files)


def _cell(value: str | int | float | None) -> str:
    return "" if value is None else str(value)
