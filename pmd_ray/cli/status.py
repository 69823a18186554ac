"""`pmd status`: how far a study is: every stage with its state, from the storage alone; or a job of a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmd_ray.cli.options import Json
from pmd_ray.cli.output import Cell, print_json, print_table, say
from pmd_ray.cli.stored import StoredIn

if TYPE_CHECKING:
    from pmd_ray.spec.attempt import Attempt
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store

LAST = 600
"""Characters of a job's message that are shown: of a failed one it is the end of its log."""
STORED, RUNNING, FAILED, LOST, WAITING = "stored", "running", "failed", "lost", "waiting"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("status")(status)


def status(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, such as runs/quickstart; with --storage a study's or search's name; with --address a "
            "job's id or name.",
        ),
    ],
    storage: StoredIn = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="URL", help="Ask the cluster with this dashboard for a job.")
    ] = None,
    json: Json = False,
) -> None:
    """Show how far a study is: its stages, what runs where, what failed and why."""
    from pmd_ray.spec.errors import UserError
    from pmd_ray.spec.search_folder import is_search
    from pmd_ray.spec.study_folder import read_record
    from pmd_ray.store.store import Store

    if storage is not None and address is not None:
        raise UserError("--storage and --address: a study is looked for in a storage, a job in a cluster; give one")
    if address is not None:
        _show_job(run, address, json=json)
        return
    if storage is not None:
        _show_stored(run, storage, json=json)
        return
    folder = Path(run)
    if is_search(folder):
        from pmd_ray.cli.search_report import show_status

        show_status(folder, json=json)
        return
    if not folder.exists():
        raise UserError(
            f"{run} holds no study: there is no such folder; one of a storage is shown with --storage PLACE, a job of "
            "a cluster with --address URL"
        )
    record = read_record(folder)
    finished = _show_study(record, Store.open(record.storage, create=False), json=json)
    if not finished and not json:
        say(f"\ngo on with: pmd resume {run}")


def _show_study(record: StudyRecord, store: Store, *, json: bool) -> bool:
    """Every stage with its state; whether all are stored."""
    from pmd_ray.store.location import without_secrets

    rows = stage_rows(record, store)
    counts = {state: sum(row["state"] == state for row in rows) for state in (STORED, RUNNING, FAILED, LOST, WAITING)}
    if json:
        where = without_secrets(record.storage)
        print_json({"study": record.study.name, "storage": where, "stages": counts, "rows": rows})
    else:
        cells: list[list[Cell]] = [
            [row["state"], row["name"], row["layers"], row["attempts"], row["note"], row["key"][:8]] for row in rows
        ]
        title = f"{record.study.name}: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        print_table(["state", "stage", "layers", "attempts", "note", "key"], cells, title=title)
    return all(row["state"] == STORED for row in rows)


def _show_stored(name: str, storage: str, *, json: bool) -> None:
    """From the storage alone."""
    from pmd_ray.cli.search_report import show_trials
    from pmd_ray.cli.stored import find_stored
    from pmd_ray.store.location import without_secrets

    found = find_stored(name, storage)
    if found.search is not None:
        show_trials(found.search, json=json)
    if found.study is not None:
        _show_study(found.study, found.store, json=json)
    if not json:
        say(f"\nits report here: pmd fetch {name} --storage {without_secrets(storage)}")


def _show_job(name: str, address: str, *, json: bool) -> None:
    """One job of a cluster: state, since when, what it runs."""
    from pmd_ray.cli.following import server_at
    from pmd_ray.run.jobs import find_job

    job = find_job(server_at(address), name)
    told: dict[str, Any] = {"job": job.id, "state": job.state, "started": _time(job.started), "ended": _time(job.ended)}
    told |= {"exit_code": job.exit_code, "entrypoint": job.entrypoint, "message": job.message}
    if json:
        print_json(told)
        return
    told["message"] = job.message[-LAST:]
    shown = [[key.replace("_", " "), str(value)] for key, value in told.items() if value not in (None, "")]
    print_table(["", ""], shown)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


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
                "note": _note(state, attempts, remote=store.local is None),
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


def _note(state: str, attempts: list[Attempt], *, remote: bool) -> str:
    from pmd_ray.store.attempts import last_heard

    if not attempts:
        return ""
    last = attempts[-1]
    match state:
        case "running":
            done = f"{last.first_epoch + last.epochs_finished} epochs done"
            # Of a bucket only the cluster that trains knows whether the process lives.
            return f"on {last.host} since {last.started}, {done}{f', or lost: {last_heard(last)}' if remote else ''}"
        case "failed":
            return f"{last.failure.value if last.failure else ''}: {' '.join((last.message or '').split())[:120]}"
        case "lost":
            return f"{last.first_epoch + last.epochs_finished} epochs kept"
        case _:
            return f"{last.seconds:.0f} s" if last.state == "done" else ""
