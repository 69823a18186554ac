"""`pmd export`: a model for use in plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pmd_ray.cli.options import Cache, Data, Home, Json, Model
from pmd_ray.cli.output import print_json, say
from pmd_ray.cli.quiet import quieten


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export")(export)


def export(
    context: typer.Context,
    model: Model,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    data: Data = None,
    home: Home = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Write two Hugging Face encoders, an entity table as Parquet and a model card."""
    quieten(context)
    from pmd_ray.cli.progress import progress
    from pmd_ray.train import export as exporting
    from pmd_ray.train import use
    from pmd_ray.train.workshop import Places

    trained = use.load_model(model)
    graph = use.graph_of(trained, data, Places(data_home=home))
    with progress() as tell:
        folder = exporting.export(
            model, trained, graph, out, cache=cache, tick=lambda done, total: tell("entities", done, total)
        )
    if json:
        print_json(
            {"out": str(folder), "entities": graph.num_entities, "files": sorted(f.name for f in folder.iterdir())}
        )
    say(f"written: {folder}; its README.md shows how to use it in plain transformers", json=json)
