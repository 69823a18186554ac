"""`pmd tensorboard`: TensorBoard over a run's curves, from its folder or from a storage, for this machine alone."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pmd_ray.cli.output import say, warn
from pmd_ray.cli.quiet import quieten
from pmd_ray.cli.stopping import stoppable
from pmd_ray.cli.stored import StoredIn

HERE = "127.0.0.1"
BOARD = "tensorboard"
EVENTS = "events.out.tfevents.*"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("tensorboard")(tensorboard)


def tensorboard(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder; with --storage a study's name.")],
    storage: StoredIn = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes any that is free.")
    ] = 6006,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Other machines see it only where this says so.")
    ] = HERE,
) -> None:
    """Show a run's curves in TensorBoard until Ctrl-C."""
    quieten(context, loads_models=False)
    if host not in (HERE, "localhost", "::1"):
        warn(f"--host {host}: whoever reaches this machine sees the curves; TensorBoard asks for no password")
    with _curves(run, storage) as folder, stoppable("TensorBoard has ended"):
        url = _launched(folder, host=host, port=port)
        say(f"{url} (Ctrl-C ends it)")
        _serve()


def _serve() -> None:
    """Until Ctrl-C; the server has a thread of its own."""
    while True:
        time.sleep(3600)


@contextmanager
def _curves(run: str, storage: str | None) -> Iterator[Path]:
    """The folder with event files; of a storage in a temporary folder that goes afterwards."""
    if storage is None:
        yield board_of(Path(run))
        return
    with tempfile.TemporaryDirectory(prefix="pmd-tensorboard-") as place:
        yield fetched_board(run, storage, Path(place))


def board_of(run: Path) -> Path:
    """The folder of a run that holds its event files.

    Raises:
        UserError: there is none.
    """
    from pmd_ray.spec.errors import UserError

    for folder in (run / BOARD, run):
        if any(folder.rglob(EVENTS)):
            return folder
    raise UserError(
        f"{run} holds no event files; give a run's folder, such as runs/quickstart (pmd report writes them), or a "
        "study's name with --storage PLACE"
    )


def fetched_board(name: str, storage: str, out: Path) -> Path:
    """The event files of a study's or search's stages, laid out as a report does.

    Raises:
        UserError: there is no such study, or nothing of it is stored yet.
    """
    from pmd_ray.cli.stored import find_stored
    from pmd_ray.report.search_report import write_search_report
    from pmd_ray.report.study_report import write_report
    from pmd_ray.spec.search_folder import CONFIRM

    found = find_stored(name, storage)
    if found.study is not None:
        write_report(found.study, found.store, out, formats=[BOARD])
    if found.search is not None:
        write_search_report(found.search, found.store, out, formats=[BOARD], confirmed=found.confirmed)
    if found.confirmed is not None:
        write_report(found.confirmed, found.store, out / BOARD / CONFIRM, formats=[BOARD])
    return board_of(out)


def _launched(folder: Path, *, host: str, port: int) -> str:
    """Start the server; its address.

    Raises:
        UserError: the port is taken, or the host is none of this machine's.
    """
    from tensorboard import program

    from pmd_ray.spec.errors import UserError

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    board = program.TensorBoard()
    board.configure(argv=["tensorboard", "--logdir", str(folder), "--host", host, "--port", str(port)])
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise UserError(f"TensorBoard cannot be started: {error.msg}; choose with --port N or --host") from None
