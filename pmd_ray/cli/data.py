"""`pmd data`: list, check, show, fetch, import and push knowledge graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pmd_ray.cli.group import VerbGroup
from pmd_ray.cli.options import Home, Json, Source
from pmd_ray.cli.output import Cell, complain, print_json, print_table, say, warn
from pmd_ray.spec.errors import UserError

WRONG_INPUT = 2


def register(app: typer.Typer) -> None:
    """Add `pmd data` and its verbs."""
    data = typer.Typer(
        cls=VerbGroup,
        help="List, check, show, fetch, import and push knowledge graphs.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    data.command("list")(list_datasets)
    data.command("check")(check)
    data.command("show")(show)
    data.command("fetch")(fetch)
    data.command("import")(import_layout)
    data.command("push")(push)
    app.add_typer(data, name="data")


def list_datasets(
    home: Home = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="PLACE", help="List the graphs that were pushed to a storage instead."),
    ] = None,
    json: Json = False,
) -> None:
    """List the datasets known by name: bundled, fetched, or to be fetched; or those of a storage."""
    from pmd_ray.kg.catalog import datasets
    from pmd_ray.kg.load import data_home

    if storage is not None:
        _list_stored(storage, json=json)
        return
    folder = data_home(home)
    found: list[dict[str, Any]] = []
    for dataset in datasets():
        fetched = (folder / dataset.name / "entities.tsv").is_file()
        state = "bundled" if dataset.where == "bundled" else "fetched" if fetched else "to fetch"
        sizes = {key: getattr(dataset, key) for key in ("entities", "relations", "train", "valid", "test")}
        found.append({"name": dataset.name, "state": state} | sizes)
        found[-1] |= {"about": dataset.about, "licence": dataset.licence}
    others = sorted({table.parent.name for table in folder.glob("[!.]*/entities.tsv")} - {row["name"] for row in found})
    if json:
        print_json({"home": str(folder), "datasets": found, "others": others})
        return
    print_table(list(found[0]), [list(row.values()) for row in found])
    if others:
        say(f"also in {folder}: {', '.join(others)}")
    if any(row["state"] == "to fetch" for row in found):
        say("\nget one with: pmd data fetch NAME")


def _list_stored(storage: str, *, json: bool) -> None:
    from dataclasses import asdict

    from pmd_ray.store.store import Store

    store = Store.open(storage, create=False)
    graphs = store.datasets.all()
    if json:
        told = [{"source": graph.source, **asdict(graph)} for graph in graphs]
        print_json({"storage": store.medium.shown, "graphs": told})
        return
    if graphs:
        rows: list[list[Cell]] = [[graph.source, graph.size, graph.created[:16].replace("T", " ")] for graph in graphs]
        print_table(["source", "bytes", "pushed (UTC)"], rows)
    say(f"{_plural(len(graphs), 'graph')} in {store.medium.shown}; push one with: pmd data push GRAPH --storage PLACE")


def check(source: Source, home: Home = None, json: Json = False) -> None:
    """Check a graph: every problem with file and line, warnings, counts. Exit code 2 where there is a problem."""
    from dataclasses import asdict

    from pmd_ray.kg.check import check_folder
    from pmd_ray.kg.load import find_folder

    folder = find_folder(source, home=home)
    report = check_folder(folder)
    counts = report.counts
    if json:
        problems = [{"file": p.file, "line": p.line, "rule": str(p.rule), "text": p.text} for p in report.problems]
        told = {"source": source, "folder": str(folder), "problems": problems, "warnings": list(report.warnings)}
        print_json(told | {"counts": asdict(counts)})
    else:
        for problem in report.problems:  # all of them: this verb is asked for the list
            say(str(problem))
    for warning in report.warnings:
        warn(warning)
    if report.problems:
        complain(f"{folder}: {_plural(len(report.problems), 'problem')}")
        raise typer.Exit(WRONG_INPUT)
    sizes = f"{counts.entities:,} entities, {counts.relations:,} relations"
    triples = f"{counts.train:,} train, {counts.valid:,} valid, {counts.test:,} test triples"
    say(f"{source}: no problem, {_plural(len(report.warnings), 'warning')}; {sizes}; {triples}", json=json)


def show(
    source: Source,
    entity: Annotated[str | None, typer.Argument(metavar="ENTITY", help="An entity's id or name.")] = None,
    triples: Annotated[int, typer.Option("--triples", min=0, metavar="N", help="At most so many triples.")] = 10,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show a graph in figures and samples, or one of its entities with texts and triples."""
    from pmd_ray.cli import data_show
    from pmd_ray.kg.load import load_graph

    graph = load_graph(source, home=home)
    if entity is None:
        told, draw = data_show.summary(graph, triples=triples), data_show.draw_summary
    else:
        told, draw = data_show.entity(graph, entity, triples=triples), data_show.draw_entity
    if json:
        print_json(told)
    else:
        draw(told)


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset's name (pmd data list).")],
    home: Home = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="A mirror of the repositories (default: GitHub's).")
    ] = None,
    json: Json = False,
) -> None:
    """Download a dataset from its repository at a pinned commit, verify and import it; goes on where it stopped."""
    from pmd_ray.cli.progress import progress
    from pmd_ray.kg.fetch import GITHUB
    from pmd_ray.kg.fetch import fetch as fetch_dataset
    from pmd_ray.kg.load import data_home

    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise UserError(f"--base-url {base_url!r} is not a web address; it starts with http:// or https://")
    with progress(unit="bytes") as tell:
        folder = fetch_dataset(name, home=data_home(home), base_url=base_url or GITHUB, progress=tell)
    say(f"{name} is in {folder}; use it by its name", json=json)
    if json:
        print_json({"name": name, "folder": str(folder)})


def import_layout(
    layout: Annotated[str, typer.Argument(metavar="LAYOUT", help="simkgc, kg_bert or codex.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files of that layout lie.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder; must not exist, or be empty.")],
    name: Annotated[str | None, typer.Option("--name", help="The graph's name (default: OUT's).")] = None,
    json: Json = False,
) -> None:
    """Bring a graph in the layout of SimKGC, KG-BERT or CoDEx into ours, checked, whole or not at all."""
    from pmd_ray.kg.imports import import_graph
    from pmd_ray.kg.write import write_graph

    title = _one_line_name(name) if name is not None else out.resolve().name
    graph = import_graph(layout, folder, name=title)
    write_graph(graph, out, _source_note(title, layout=layout, folder=folder))
    for warning in graph.warnings:
        warn(warning)
    sizes = {"entities": graph.num_entities, "relations": graph.num_relations}
    sizes |= {"train": len(graph.train), "valid": len(graph.valid), "test": len(graph.test)}
    told = ", ".join(f"{count:,} {noun}" for noun, count in sizes.items())
    say(f"{title} is in {out}: {told}", json=json)
    if json:
        print_json({"name": title, "folder": str(out)} | sizes | {"warnings": list(graph.warnings)})


def push(
    source: Source,
    storage: Annotated[
        str,
        typer.Option(
            "--storage", envvar="PMD_STORAGE", metavar="PLACE", help="A study's storage: a folder, or s3://BUCKET/PATH."
        ),
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Publish a graph to a storage, by its fingerprint; prints what to give as `dataset.source` on any machine."""
    from pmd_ray.run.graphs import fingerprinted, push_graph
    from pmd_ray.store.store import Store

    store = Store.open(storage)
    graph, new = push_graph(source, store, home=home, thorough=True)
    named = fingerprinted(graph)
    if json:
        print_json({"source": named, "fingerprint": graph.fingerprint, "storage": store.medium.shown, "new": new})
        return
    complain(f"{store.medium.shown} {'has it now' if new else 'had it already, whole'}", label="pushed")
    say(named)


def _one_line_name(name: str) -> str:
    """The name as given; UserError where it would break the heading that it becomes."""
    if not name.strip() or not name.isprintable():
        raise UserError(f"--name {name!r} is no name; give one line of printable text")
    return name.strip()


def _source_note(name: str, *, layout: str, folder: Path) -> str:
    # The folder's own name only: a dataset may be passed on, and whose home it came from is nobody's business.
    origin = f"Imported from `{folder.resolve().name}`, layout `{layout}`, by `pmd data import`."
    return f"# {name}\n\n{origin}\n\n## Licence\n\nNot recorded at the import; see where the files came from.\n"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
