"""`pmd predict`: the best answers of one query."""

from __future__ import annotations

from typing import Annotated

import typer

from pmd_ray.cli.opened import opened
from pmd_ray.cli.options import Cache, Data, GraphStorage, Home, Json, Model
from pmd_ray.cli.output import print_json, print_table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("predict")(predict)


def predict(
    context: typer.Context,
    model: Model,
    head: Annotated[str, typer.Argument(help="An entity's id or name; with --text, any text (name: description).")],
    relation: Annotated[str, typer.Argument(help="A relation's id or text; 'inverse ...' asks the other way round.")],
    top: Annotated[int, typer.Option(min=1, help="How many answers.")] = 10,
    inverse: Annotated[bool, typer.Option("--inverse", help="Ask (?, relation, HEAD).")] = False,
    text: Annotated[bool, typer.Option("--text", help="HEAD is the text of an entity outside the graph.")] = False,
    only_new: Annotated[bool, typer.Option("--only-new", help="Leave out what the graph holds already.")] = False,
    data: Data = None,
    home: Home = None,
    storage: GraphStorage = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Ask a model (HEAD, RELATION, ?) and show the best answers."""
    with opened(context, model, data=data, home=home, storage=storage, bar="entities") as found:
        from pmd_ray.train import use

        answers = use.predict(
            found.trained,
            found.graph,
            head,
            relation,
            top=top,
            inverse=inverse,
            text=text,
            only_new=only_new,
            cache=cache,
            tick=found.tick,
        )
    if json:
        print_json(
            {
                "head": head,
                "relation": relation,
                "inverse": inverse,
                "answers": [{"id": a.id, "name": a.name, "score": a.score, "known": a.known} for a in answers],
            }
        )
    rows = [[place, f"{a.score:.4f}", a.name, a.id, "known" if a.known else ""] for place, a in enumerate(answers, 1)]
    shown = f"(?, {relation}, {head})" if inverse else f"({head}, {relation}, ?)"
    print_table(["rank", "score", "name", "id", "in graph"], rows, title=shown, json=json)
