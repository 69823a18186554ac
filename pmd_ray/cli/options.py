"""Options and arguments that several verbs share, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, all else on standard error.")
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="PMD_DATA_HOME",
        metavar="DIR",
        help="Where fetched datasets lie (default: ~/.cache/pmd_ray/data).",
    ),
]
Source = Annotated[
    str, typer.Argument(metavar="GRAPH", help="A folder with entities.tsv, or a dataset's name (pmd data list).")
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A grade's folder of a run, such as runs/demo/4.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="GRAPH", help="Another graph's folder or name (default: the one it was trained on)."
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache", envvar="PMD_CACHE", metavar="DIR", help="Keep tokens and entity vectors there for the next call."
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="LIST",
        help="Only these of the report, separated by commas: csv, parquet, md, tex, svg, png, html, tensorboard "
        "(default: all).",
    ),
]


def formats_of(given: list[str] | None) -> list[str] | None:
    """The formats asked for; None for all."""
    return [part.strip() for text in given or [] for part in text.split(",") if part.strip()] or None
