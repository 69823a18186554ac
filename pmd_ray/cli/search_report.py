"""Shows what a search found: the best of each depth beside the default, what the confirmation says, where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_ray.cli.output import Cell, print_json, print_table, say, warn
from pmd_ray.cli.report import wrote

if TYPE_CHECKING:
    from pmd_ray.report.search_report import SearchWritten
    from pmd_ray.spec.search_record import SearchRecord
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store


def stored_record(run: Path) -> tuple[SearchRecord, Store]:
    """The record of a search's folder with the trials that its store has by now.

    Raises:
        UserError: the folder holds no search, or its storage is not there.
    """
    from pmd_ray.spec.search_folder import read_search
    from pmd_ray.spec.search_reading import read_stored
    from pmd_ray.store.location import without_secrets
    from pmd_ray.store.store import Store

    record = read_search(run)
    store = Store.open(record.storage, create=False)
    return read_stored(store.study(record.id), record.id, where=without_secrets(store.location)) or record, store


def confirming_record(record: SearchRecord, run: Path) -> StudyRecord | None:
    """The study that confirms a search, once it has begun."""
    from pmd_ray.spec.search_folder import CONFIRM
    from pmd_ray.spec.study_folder import RECORD, read_record

    folder = run / (record.confirm or CONFIRM)
    return read_record(folder) if (folder / RECORD).is_file() else None


def report_confirmation(study: StudyRecord, store: Store, out: Path, *, formats: list[str] | None) -> None:
    """Write the report of the study that confirms a search.

    Args:
        study: As far as it is.
        store: Of study and search.
        out: The study's folder.
        formats: Of the search's report; those that a study has none of are left out. None: all that a study has.
    """
    from pmd_ray.report.study_report import FORMATS, write_report

    known = None if formats is None else [name for name in formats if name in FORMATS]
    write_report(study, store, out, formats=known)


def report_search(run: Path, out: Path | None, *, formats: list[str] | None, json: bool) -> None:
    """Write the report of a search again."""
    record, store = stored_record(run)
    write_reports(record, store, out or run, confirmed=confirming_record(record, run), formats=formats, json=json)


def write_reports(
    record: SearchRecord,
    store: Store,
    out: Path,
    *,
    confirmed: StudyRecord | None,
    formats: list[str] | None,
    json: bool,
) -> None:
    """Write the report of a search and that of its confirmation, and show what was found."""
    from pmd_ray.report.search_report import FORMATS, write_search_report
    from pmd_ray.report.writer import checked_formats
    from pmd_ray.spec.search_folder import CONFIRM

    checked_formats(formats, FORMATS)  # before the confirmation's report
    if confirmed is not None:
        report_confirmation(confirmed, store, out / (record.confirm or CONFIRM), formats=formats)
    written = write_search_report(record, store, out, formats=formats, confirmed=confirmed)
    if json:
        print_json({"search": record.search.name, **written.json()})
    show_search(written, out, json=json)


def show_search(written: SearchWritten, out: Path, *, json: bool = False) -> None:
    """The table, the confirmation's sentences, warnings and places; to standard error with `json`."""
    from pmd_ray.spec.search_folder import CONFIRM

    table = written.table
    columns = [name for name in table.columns if any(table.column(name))]
    rows = [list(row) for row in zip(*(table.column(name) for name in columns), strict=True)]
    cells: list[list[Cell]] = [["" if cell is None else str(cell) for cell in row] for row in rows]
    print_table(columns, cells, title=f"{written.title}: validation split, the best beside the default", json=json)
    for sentence in written.confirmed:
        say(f"\n{sentence}", json=json)
    for text in written.warnings:
        warn(text)
    places = {
        "chain": out / "best.yaml",
        "tables": out / "tables",
        "figures": out / "figures",
        "page": out / "report.html",
        "confirmation": out / CONFIRM / "report.html",
    }
    lines = [f"{name}: {path}" for name, path in places.items() if path.exists()]
    board = out / "tensorboard"
    lines += [f"curves: tensorboard --logdir {board}"] if wrote(written.files, board) else []
    if (out / "best.yaml").is_file():
        lines.append(f"use it: pmd distill {out / 'best.yaml'}")
    say("\n".join(["", *lines]), json=json)


def show_status(run: Path, *, json: bool) -> None:
    """How far the search of a folder is, and what is to be done for it."""
    record, store = stored_record(run)
    show_trials(record, json=json)
    for line in [] if json else _left(record, store, run):
        say(line)


def show_trials(record: SearchRecord, *, json: bool) -> None:
    """How far a search is: trials by state, those that run, and why others ended."""
    from pmd_ray.cli.search_progress import point_in_words
    from pmd_ray.spec.search_record import TrialState

    counts = {state.value: sum(trial.state is state for trial in record.trials) for state in TrialState}
    done = [trial for trial in record.trials if trial.value is not None and trial.state is TrialState.DONE]
    best = max(done, key=lambda trial: trial.value or 0.0, default=None)
    if json:
        print_json(
            {
                "search": record.search.name,
                "storage": record.storage,
                "trials": counts,
                "best": best and {"number": best.number, "value": best.value, "settings": best.settings},
                "stopped": record.stopped,
                "rows": [trial.model_dump(mode="json", include=_ROW) for trial in record.trials],
            }
        )
        return
    cells: list[list[Cell]] = [
        [
            trial.number,
            trial.round,
            trial.origin if trial.inside else f"{trial.origin} (not in the space)",
            trial.state.value,
            "" if trial.value is None else f"{trial.value:.3f}",
            point_in_words(trial),
            trial.reason,
        ]
        for trial in record.trials
    ]
    title = f"{record.search.name}: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    columns = ["trial", "round", "origin", "state", f"validation {record.search.metric}", "tried", "reason"]
    print_table(columns, cells, title=title)
    if record.stopped:
        say(f"\nended: {record.stopped}")


def _left(record: SearchRecord, store: Store, run: Path) -> Iterator[str]:
    """What is to be done for a search."""
    from pmd_ray.run.search.confirm import confirming_study
    from pmd_ray.run.search.search import is_running

    if is_running(record, store):
        yield "a run is at work on it"
    elif record.stopped is None:
        yield f"\ngo on with: pmd resume {run}"
    elif record.confirm is None and confirming_study(record) is not None:
        yield f"the best are not confirmed yet: pmd resume {run}"


_ROW = {"number", "round", "origin", "state", "value", "standard_error", "settings", "layers", "mask_rates", "reason"}
