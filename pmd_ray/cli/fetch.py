"""`pmd fetch`: the report of a study or search that ran elsewhere, written here from its storage."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.options import EitherFormats, Json, formats_of
from pmd_ray.cli.output import print_json, say
from pmd_ray.cli.quiet import quieten

if TYPE_CHECKING:
    from pmd_ray.cli.stored import Found


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("fetch")(fetch)


def fetch(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The study's or search's name.")],
    storage: Annotated[
        str | None, typer.Option("--storage", envvar="PMD_STORAGE", metavar="PLACE", help="Where its stages lie.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the report goes (default: runs/NAME).")
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(
            "--cluster",
            metavar="FILE",
            help="Copy the run's folder from this cluster's head instead (ray rsync-down): where this machine does not "
            "see the storage.",
        ),
    ] = None,
    formats: EitherFormats = None,
    json: Json = False,
) -> None:
    """Bring tables, figures, page and TensorBoard runs of a study or search here."""
    from pmd_ray.spec.errors import UserError

    quieten(context, loads_models=False)
    if cluster is not None:
        _copy(name, cluster, out or Path("runs") / name, json=json)
        return
    if storage is None:
        raise UserError("give --storage PLACE (or set PMD_STORAGE), or --cluster FILE to copy the run from its head")
    from pmd_ray.cli.stored import find_stored

    found = find_stored(name, storage)
    place = out or Path("runs") / found.name
    _keep_record(found, place)
    if found.search is None:
        _write_study(found, place, formats=formats_of(formats), json=json)
        return
    from pmd_ray.cli.search_report import write_reports

    write_reports(found.search, found.store, place, confirmed=found.confirmed, formats=formats_of(formats), json=json)


def _keep_record(found: Found, out: Path) -> None:
    """The record goes along, so that `pmd report`, `status` and `show` work here.

    Raises:
        UserError: the folder holds another study or search.
    """
    from pmd_ray.run.folder import locked, write_whole
    from pmd_ray.run.study import refuse_changed
    from pmd_ray.spec import search_folder, study_folder

    with locked(out):
        if found.study is not None:
            if (out / study_folder.RECORD).is_file():
                refuse_changed(study_folder.read_record(out), found.study, out)
            _refuse_other_kind(out, search_folder.RECORD)
            write_whole(out / study_folder.RECORD, found.study.model_dump_json(indent=1))
        if found.search is not None:
            _refuse_other_kind(out, study_folder.RECORD)
            if search_folder.is_search(out) and search_folder.read_search(out).id != found.search.id:
                _refuse_other_kind(out, search_folder.RECORD)
            write_whole(out / search_folder.RECORD, found.search.model_dump_json(indent=1))
    if found.confirmed is not None:
        with locked(out / search_folder.CONFIRM):
            write_whole(out / search_folder.CONFIRM / study_folder.RECORD, found.confirmed.model_dump_json(indent=1))


def _refuse_other_kind(out: Path, record: str) -> None:
    from pmd_ray.spec.errors import UserError

    if (out / record).is_file():
        raise UserError(f"{out} holds another run ({record}); choose another folder with --out")


def _write_study(found: Found, out: Path, *, formats: list[str] | None, json: bool) -> None:
    from pmd_ray.cli.report import show_written
    from pmd_ray.report.study_report import write_report

    assert found.study is not None
    written = write_report(found.study, found.store, out, formats=formats)
    if json:
        print_json({"study": found.study.study.name, **written.json()})
    show_written(written, out, json=json)


def _copy(name: str, cluster: Path, out: Path, *, json: bool) -> None:
    """The run's folder on the head, as the job left it.

    Raises:
        UserError: the file is not there, or Ray cannot copy.
    """
    from pmd_ray.run.job_folder import RUNS
    from pmd_ray.spec.errors import UserError

    if not cluster.is_file():
        raise UserError(f"--cluster {cluster}: no such file; give the file that the cluster was started with")
    if shutil.which("rsync") is None:
        raise UserError("--cluster copies with rsync, which is not on this machine; install it")
    made = {folder for folder in (out, *out.parents) if not folder.exists()}
    out.mkdir(parents=True, exist_ok=True)
    # The slash at the end: what is in the folder, not the folder.
    command = [sys.executable, "-m", "ray.scripts.scripts", "rsync-down", str(cluster), f"{RUNS}/{name}/", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0 or not any(out.iterdir()):
        told = " ".join(f"{done.stdout} {done.stderr}".split())[-300:]
        with contextlib.suppress(OSError):  # a part of it has come
            for folder in (out, *out.parents):
                if folder in made:
                    folder.rmdir()
        raise UserError(
            f"{RUNS}/{name} could not be copied from the head of {cluster}; is the cluster up, and the run called so "
            f"(a search's folder is search-NAME)? Ray said: {told or 'nothing'}"
        )
    if json:
        print_json({"name": name, "out": str(out.absolute())})
    say(f"{name} is in {out}", json=json)
