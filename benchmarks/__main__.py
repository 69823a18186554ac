"""`python -m benchmarks NAME`: measures one part of the product, or `all` of them; without a name, lists them.

Everything runs on one thread and is told in CPU seconds: on a machine that others use, wall-clock says little. See
`benchmarks/record.py` for what a line holds, `benchmarks/released` for what is measured against.
"""

from __future__ import annotations

import json as json_format
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

EVERYTHING = "all"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
LIST_OPTION = "--batch"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def measure(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A benchmark, or `all`; without, a list.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a case on standard output.")] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="A graph's folder, or a folder of graphs by name."),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", metavar="N ...", min=2, help="In place of each case's own sizes.")
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", metavar="R", min=1, help="Repetitions; medians count.")] = 3,
    small: Annotated[bool, typer.Option("--small", help="A few cases at sizes of seconds.")] = False,
    case: Annotated[str, typer.Option("--case", metavar="TEXT", help="Only cases whose name holds this.")] = "",
    encoder: Annotated[str, typer.Option("--encoder", help="minilm, or scratch to see that all runs.")] = "minilm",
) -> None:
    """Measure CPU seconds of the product, of the released code's algorithm, and of the limit, for the same work."""
    from benchmarks import suite

    if name is None:
        for known in suite.names():
            print(f"{known:10} {suite.about(known)}")
        return
    ways = [suite.load(chosen) for chosen in (suite.names() if name == EVERYTHING else [name])]

    import torch

    from benchmarks.inputs import Asked

    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory(prefix="pmd-benchmarks-") as work:
        asked = Asked(
            work=Path(work),
            data=data,
            batches=tuple(batch or ()),
            repeat=repeat,
            small=small,
            case=case,
            encoder=encoder,
        )
        for way in ways:
            for measured in way(asked):
                found.append(measured)
                line = json_format.dumps(measured.line(), allow_nan=False)
                print(line, file=sys.stdout if json else sys.stderr, flush=True)
    if not json:
        from benchmarks.record import KEYS, rows
        from pmd_ray.cli.output import print_table

        print_table(KEYS, rows(found))


def spread(arguments: Sequence[str]) -> list[str]:
    """`--batch 64 256` as `--batch 64 --batch 256`, which is how typer reads several values."""
    found: list[str] = []
    listing = False
    for argument in arguments:
        if listing and argument.isdigit():
            found += [LIST_OPTION, argument]
            continue
        listing = argument == LIST_OPTION
        if not listing:
            found.append(argument)
    return found


def main(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    from pmd_ray.cli.failures import explain
    from pmd_ray.spec.errors import PmdError

    _set_environment()
    try:
        app(args=spread(arguments), prog_name="python -m benchmarks")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except PmdError as error:
        return explain(error)
    return 0


def _set_environment() -> None:
    """One thread for everything, before anything starts threads of its own; no network."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
