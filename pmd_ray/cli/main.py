"""The console script `pmd`: gathers the verbs, one file of this folder each, and runs the one that was asked for."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

import pmd_ray.cli
from pmd_ray import __version__
from pmd_ray.cli.failures import drop_stdout, explain
from pmd_ray.cli.group import VerbGroup

SUMMARY = "Distil text-based knowledge graph completion models, grade by grade (PMD), on a laptop or a Ray cluster."
EPILOG = (
    "Exit codes: 0 well, 1 a stage failed, 2 the input is wrong or the disk full, 130 interrupted "
    "(the same command goes on)."
)


def run() -> None:
    """Entry of the console script: run the command line and leave with its exit code."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command line; return its exit code (0 well, 1 failed, 2 wrong input, 130 interrupted)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to stop
    try:
        build_app()(args=arguments, prog_name="pmd")
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException as error:
        code = explain(error, debug="--debug" in arguments)
    try:
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be explained
    except OSError as error:
        code = explain(error)
        drop_stdout()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return code


def build_app() -> typer.Typer:
    """The typer app with every verb: each file of this folder that has a `register(app)`."""
    # Plain help: Rich would take [MASK] for markup and drop it. Tracebacks are ours to handle, not Rich's.
    app = typer.Typer(
        cls=VerbGroup,
        help=SUMMARY,
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for verb in _verbs():
        verb.register(app)
    return app


def _verbs() -> Iterator[ModuleType]:
    """The verbs' files, by name; importing them must be cheap: what is heavy is imported when the verb runs."""
    for folder in map(Path, pmd_ray.cli.__path__):
        for file in sorted(folder.glob("*.py")):
            # The other files of this folder serve verbs; some of them import what only a running verb needs.
            if re.search(r"^def register\(", file.read_text(encoding="utf-8"), re.MULTILINE):
                yield importlib.import_module(f"{pmd_ray.cli.__name__}.{file.stem}")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"pmd {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of a failure (so does PMD_TRACEBACK=1).")
    ] = False,
) -> None:
    """The options before the verb: typer reads them, `VerbGroup` looks `debug` up."""


if __name__ == "__main__":
    run()
