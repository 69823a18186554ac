"""`pmd store`: list, verify, clean and migrate the artifacts of studies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmd_ray.cli.group import VerbGroup
from pmd_ray.cli.options import Json
from pmd_ray.cli.output import complain, print_json, print_table, say, warn
from pmd_ray.spec.errors import UserError

if TYPE_CHECKING:
    from pmd_ray.store.gc import Rubbish
    from pmd_ray.store.store import Store

BROKEN = 1
SHORT = 12
"""Digits of a key that are shown; so many, or fewer, also name it."""

Storage = Annotated[
    str, typer.Argument(metavar="STORAGE", help="A study's storage: a folder, or an address such as s3://bucket/runs.")
]


def register(app: typer.Typer) -> None:
    """Add `pmd store` and its verbs."""
    store = typer.Typer(
        cls=VerbGroup,
        help="List, verify, clean and migrate what studies store.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    store.command("ls")(list_artifacts)
    store.command("verify")(verify)
    store.command("gc")(collect)
    store.command("migrate")(migrate)
    app.add_typer(store, name="store")


def list_artifacts(storage: Storage, json: Json = False) -> None:
    """List the artifacts: key, grade, layers, size, when, and the studies that refer to them."""
    from concurrent.futures import ThreadPoolExecutor

    store = _opened(storage, create=False)
    refers = _references(store)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda key: _artifact(store, key, refers.get(key, [])), store.keys()))
    rows.sort(key=lambda row: (row["created"] or "", row["key"]))
    total = sum(row["size"] or 0 for row in rows)
    if json:
        print_json({"storage": store.medium.shown, "artifacts": rows, "size": total})
        return
    if rows:
        columns = ["key", "grade", "layers", "size", "created (UTC)", "studies"]
        print_table(columns, [_row(row) for row in rows])
    say(f"{_counted(len(rows), 'artifact')}, {_bytes(total)}, in {store.medium.shown}")


def verify(
    storage: Storage,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys or their first digits (default: all).")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every artifact (the default without keys).")] = False,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move broken artifacts to aside/: their stages are trained again.")
    ] = False,
    json: Json = False,
) -> None:
    """Read artifacts and compare every file with what was published. Exit code 1 where something is broken."""
    store = _opened(storage, create=set_aside)
    if keys and everything:
        raise UserError("give keys or --all, not both")
    there = store.keys()
    chosen = [_named(key, there) for key in keys] if keys else there
    rows = []
    for key in dict.fromkeys(chosen):
        problems = store.verify(key)
        where = _set_aside(store, key, problems) if problems and set_aside else None
        rows.append({"key": key, "problems": problems, "set_aside": where})
        for problem in problems:
            say(f"{key[:SHORT]} {problem}", json=json)
    broken = [row for row in rows if row["problems"]]
    if json:
        print_json({"storage": store.medium.shown, "verified": len(rows), "broken": broken})
    say(f"{_counted(len(rows), 'artifact')} verified, {len(broken)} broken", json=json)
    if broken:
        way_out = "" if set_aside else "; with --set-aside they go out of the way, and their stages are trained again"
        complain(f"{store.medium.shown}: {_counted(len(broken), 'broken artifact')}{way_out}")
        raise typer.Exit(BROKEN)


def collect(
    storage: Storage,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove what nothing needs: artifacts that no study refers to, old checkpoints, what was set aside, lost uploads.

    What a study refers to and what is being trained stays. Attempts stay.
    """
    from pmd_ray.store.gc import find_rubbish, remove_rubbish

    store = _opened(storage, create=not dry_run)
    found = find_rubbish(store)
    _show_rubbish(found, store, json=json)
    if found and not dry_run and not yes:
        _ask(f"remove {_counted(len(found), 'thing')}, {_bytes(sum(item.size for item in found))}?")
    gone = [] if dry_run else remove_rubbish(store, found)
    if json:
        told = [{"kind": str(i.kind), "path": i.path, "key": i.key, "size": i.size, "why": i.why} for i in found]
        removed = {item.path for item in gone}
        told = [item | {"removed": item["path"] in removed} for item in told]
        freed = sum(item.size for item in gone)
        print_json({"storage": store.medium.shown, "found": told, "dry_run": dry_run, "freed": freed})
    if not dry_run and found:
        say(f"removed {len(gone)} of {len(found)}, {_bytes(sum(item.size for item in gone))}", json=json)


def migrate(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="The --out of a pmd distill, or a store of an older version.")
    ],
    storage: Annotated[
        str | None, typer.Argument(metavar="[STORE]", help="Copy the grades there (default: upgrade DIR in place).")
    ] = None,
    json: Json = False,
) -> None:
    """Bring finished grades of a pmd distill into a store, or a store of an older version up to date."""
    from pmd_ray.store.migrate import migrate_run, some_grades, upgrade

    if storage is None:
        moved, where = upgrade(source.absolute()), str(source.absolute())
    else:
        some_grades(source)  # before a store is made for them
        store = _opened(storage, create=True)
        moved, where = migrate_run(source.absolute(), store), store.medium.shown
    if json:
        grades = [{"name": g.name, "key": g.key, "state": g.state, "size": g.size} for g in moved]
        print_json({"from": str(source.absolute()), "storage": where, "grades": grades})
    for grade in moved:
        say(f"{grade.name}: {grade.state} ({grade.key[:SHORT]}, {_bytes(grade.size)})", json=json)
    if not moved:
        say(f"{where} is up to date; nothing to do", json=json)


def _opened(storage: str, *, create: bool) -> Store:
    from pmd_ray.store.store import Store

    store = Store.open(storage, create=create)
    store.warn = warn
    return store


def _references(store: Store) -> dict[str, list[str]]:
    """What studies refer to; a record that is garbage is told and left out: this is only shown."""
    from pmd_ray.store.layout import Unreadable

    try:
        return store.references()
    except Unreadable as error:
        warn(f"{error}; which artifacts it refers to is not known")
        return {}


def _artifact(store: Store, key: str, studies: list[str]) -> dict[str, Any]:
    """One artifact's line; what cannot be read is None."""
    from json import loads

    from pmd_ray.store.artifacts import ArtifactBroken

    manifest = store.manifest(key)
    row: dict[str, Any] = {"key": key, "grade": None, "layers": None, "size": None, "created": None, "studies": studies}
    if manifest is None:
        return row | {"broken": True}
    row |= {"size": manifest.size, "created": manifest.created, "broken": False}
    if any(entry.path == "result.json" for entry in manifest.files):
        try:
            result = loads(store.open_file(key, "result.json"))
            row |= {"grade": str(result["name"]), "layers": int(result["layers"])}
        except (ArtifactBroken, ValueError, KeyError, TypeError):
            row["broken"] = True
    return row


def _row(row: dict[str, Any]) -> list[str | int | None]:
    created = row["created"] and f"{row['created'][:10]} {row['created'][11:16]}"
    grade = f"{row['grade'] or '-'}{' (broken)' if row['broken'] else ''}"
    size = None if row["size"] is None else _bytes(row["size"])
    return [row["key"][:SHORT], grade, row["layers"], size, created, ", ".join(row["studies"]) or None]


def _named(given: str, there: Sequence[str]) -> str:
    """The one key that begins so.

    Raises:
        UserError: there is none, or there are several.
    """
    found = [key for key in there if key.startswith(given.lower())] if given else []
    if len(found) != 1:
        several = f"{len(found)} artifacts begin with '{given}'; give more digits"
        raise UserError(several if found else f"no artifact begins with '{given}' (pmd store ls)")
    return found[0]


def _set_aside(store: Store, key: str, problems: list[str]) -> str | None:
    from pmd_ray.store.leases import Busy

    try:
        with store.lease(key):
            return store.set_aside(key, "; ".join(problems[:5])) or None
    except Busy as error:
        warn(f"{error}; it was not set aside")
        return None


def _show_rubbish(found: list[Rubbish], store: Store, *, json: bool) -> None:
    if not found:
        say(f"{store.medium.shown}: nothing to remove", json=json)
        return
    rows = [[str(item.kind), item.key[:SHORT], _bytes(item.size), item.why] for item in found]
    print_table(["what", "key", "size", "why"], rows, json=json)
    say(f"{_counted(len(found), 'thing')}, {_bytes(sum(item.size for item in found))}", json=json)


def _ask(question: str) -> None:
    """Go on only where the person at the terminal agrees.

    Raises:
        UserError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UserError("nothing was removed: there is no terminal to ask at; give --yes, or --dry-run to look only")
    if not typer.confirm(question, err=True):
        complain("nothing was removed", label="stopped")
        raise typer.Exit


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
