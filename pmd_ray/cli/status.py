"""`pmd status`: how far a study is: every stage with its state, from the storage alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmd_ray.cli.options import Json
from pmd_ray.cli.output import Cell, print_json, print_table, say

if TYPE_CHECKING:
    from pmd_ray.spec.attempt import Attempt
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store

STORED, RUNNING, FAILED, LOST, WAITING = "stored", "running", "failed", "lost", "waiting"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("status")(status)


def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A study's folder, such as runs/quickstart.")],
    json: Json = False,
) -> None:
    """Show how far a study is: its stages, what runs where, what failed and why."""
    from pmd_ray.spec.search_folder import is_search
    from pmd_ray.spec.study_folder import read_record
    from pmd_ray.store.store import Store

    if is_search(run):
        from pmd_ray.cli.search_report import show_status

        show_status(run, json=json)
        return
    record = read_record(run)
    store = Store.open(record.storage, create=False)
    rows = stage_rows(record, store)
    counts = {state: sum(row["state"] == state for row in rows) for state in (STORED, RUNNING, FAILED, LOST, WAITING)}
    if json:
        print_json({"study": record.study.name, "storage": record.storage, "stages": counts, "rows": rows})
        return
    cells: list[list[Cell]] = [
        [row["state"], row["name"], row["layers"], row["attempts"], row["note"], row["key"][:8]] for row in rows
    ]
    title = f"{record.study.name}: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    print_table(["state", "stage", "layers", "attempts", "note", "key"], cells, title=title)
    if counts[STORED] < len(rows):
        say(f"\ngo on with: pmd resume {run}")


def stage_rows(record: StudyRecord, store: Store) -> list[dict[str, Any]]:
    """Every stage once, in the order of training."""
    stored = store.stored(record.keys)
    rows: dict[str, dict[str, Any]] = {}
    for run in record.runs:
        for use in run.stages:
            if use.key in rows:
                rows[use.key]["variants"].append(run.variant)
                continue
            attempts = store.attempts(use.key)
            state = _state(use.key, attempts, store, is_stored=use.key in stored)
            rows[use.key] = {
                "key": use.key,
                "name": f"{run.variant} / {use.grade} / seed {run.seed}",
                "variants": [run.variant],
                "layers": use.layers,
                "state": state,
                "attempts": len(attempts),
                "note": _note(state, attempts),
            }
    return list(rows.values())


def _state(key: str, attempts: list[Attempt], store: Store, *, is_stored: bool) -> str:
    if is_stored:
        return STORED
    if not attempts:
        return WAITING
    if attempts[-1].state == "running":
        return RUNNING if store.lease_held(key) or store.local is None else LOST
    return FAILED if attempts[-1].state == "failed" else LOST if attempts[-1].state == "lost" else WAITING


def _note(state: str, attempts: list[Attempt]) -> str:
    if not attempts:
        return ""
    last = attempts[-1]
    match state:
        case "running":
            return f"on {last.host} since {last.started}, {last.first_epoch + last.epochs_finished} epochs done"
        case "failed":
            return f"{last.failure.value if last.failure else ''}: {' '.join((last.message or '').split())[:120]}"
        case "lost":
            return f"{last.first_epoch + last.epochs_finished} epochs kept"
        case _:
            return f"{last.seconds:.0f} s" if last.state == "done" else ""
