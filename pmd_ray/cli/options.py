"""Options and arguments that several verbs share, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pmd_ray.plan.identities import Device

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, all else on standard error.")
]
Journal = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="Also write the trials as an Optuna journal, for optuna-dashboard."),
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
GraphStorage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="PMD_STORAGE",
        metavar="PLACE",
        help="Where a graph given by its fingerprint (NAME@DIGITS) is kept: see pmd data push.",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache", envvar="PMD_CACHE", metavar="DIR", help="Keep tokens and entity vectors there for the next call."
    ),
]
STUDY_FORMATS = "csv, parquet, md, tex, svg, png, html, tensorboard"
SEARCH_FORMATS = "csv, md, tex, svg, png, html, tensorboard, yaml"
ONLY = "Only these of the report, separated by commas"
Formats = Annotated[
    list[str] | None, typer.Option("--format", metavar="LIST", help=f"{ONLY}: {STUDY_FORMATS} (default: all).")
]
SearchFormats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="LIST",
        help=f"{ONLY}: {SEARCH_FORMATS} (default: all). The confirmation's report has all of them but yaml.",
    ),
]
EitherFormats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="LIST",
        help=f"{ONLY}. Of a study: {STUDY_FORMATS}; of a search: {SEARCH_FORMATS} (default: all).",
    ),
]


def formats_of(given: list[str] | None) -> list[str] | None:
    """The formats asked for; None for all."""
    return [part.strip() for text in given or [] for part in text.split(",") if part.strip()] or None


def gpus_of_stage(gpus: float | None, kind: Device, *, told: str) -> float:
    """What one stage takes; nothing said is a whole one.

    Raises:
        UserError: GPUs are asked for where stages are trained on CPUs.
    """
    from pmd_ray.spec.errors import UserError

    if kind == "cuda":
        return gpus or 1.0
    if gpus is not None:
        raise UserError(
            f"--gpus {gpus:g}: stages are trained on CPUs (--device {told}); leave it out, or use --device cuda"
        )
    return 0.0
