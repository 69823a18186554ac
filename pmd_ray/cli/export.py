"""`pmd export`: a model for use in plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pmd_ray.cli.opened import opened
from pmd_ray.cli.options import Cache, Data, GraphStorage, Home, Json, Model
from pmd_ray.cli.output import print_json, say


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export")(export)


def export(
    context: typer.Context,
    model: Model,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    data: Data = None,
    home: Home = None,
    storage: GraphStorage = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Write two Hugging Face encoders, an entity table as Parquet and a model card."""
    with opened(context, model, data=data, home=home, storage=storage, bar="entities") as found:
        from pmd_ray.train import export as exporting

        folder = exporting.export(model, found.trained, found.graph, out, cache=cache, tick=found.tick)
    if json:
        print_json(
            {
                "out": str(folder),
                "entities": found.graph.num_entities,
                "files": sorted(f.name for f in folder.iterdir()),
            }
        )
    say(f"written: {folder}; its README.md shows how to use it in plain transformers", json=json)
