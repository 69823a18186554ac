"""`pmd evaluate`: filtered ranking metrics of a model on any graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.opened import opened
from pmd_ray.cli.options import Cache, Data, GraphStorage, Home, Json, Model
from pmd_ray.cli.output import Cell, print_json, print_table

if TYPE_CHECKING:
    from pmd_ray.spec.results import RankingReport


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate")(evaluate)


def evaluate(
    context: typer.Context,
    model: Model,
    data: Data = None,
    split: Annotated[str, typer.Option(help="train, valid or test; filtering always uses all three.")] = "test",
    rerank_hops: Annotated[
        int | None, typer.Option(min=1, help="Also re-rank: candidates so near the head gain --rerank-weight (SimKGC).")
    ] = None,
    rerank_weight: Annotated[float, typer.Option(min=0.0, help="What they gain on their cosine.")] = 0.05,
    ranks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every query's rank and top 10 as Parquet.")
    ] = None,
    by_relation: Annotated[bool, typer.Option("--by-relation", help="Show each relation too.")] = False,
    home: Home = None,
    storage: GraphStorage = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Rank a model's answers against all entities of a graph, both directions, filtered, ties as the mean rank."""
    from pmd_ray.spec.errors import UserError
    from pmd_ray.spec.evaluation import EvaluationConfig, RerankConfig

    match split:
        case "train" | "valid" | "test":
            pass
        case _:
            raise UserError(f"--split must be train, valid or test, got '{split}'")
    if rerank_hops is not None and not rerank_weight > 0:
        raise UserError(f"--rerank-weight must be above 0, got {rerank_weight}")
    rerank = None if rerank_hops is None else RerankConfig(weight=rerank_weight, hops=rerank_hops)
    with opened(context, model, data=data, home=home, storage=storage, bar="texts") as found:
        from pmd_ray.train import use

        graph = found.graph
        ranked = use.evaluate(
            found.trained, graph, split, evaluation=EvaluationConfig(rerank=rerank), cache=cache, tick=found.tick
        )
    report = ranked.report(graph)
    if ranks is not None:
        from pmd_ray.train.ranks_file import write_ranks

        write_ranks(ranks, ranked.rows(), entity_ids=graph.entity_ids, relation_ids=graph.relation_ids)
    if json:
        whole = report.model_dump(mode="json", by_alias=True)
        print_json({"model": str(model), "data": graph.name, **whole["all"], **whole})
    show_report(report, f"{graph.name}, {split} split, filtered", by_relation=by_relation, json=json)


def show_report(report: RankingReport, title: str, *, by_relation: bool, json: bool) -> None:
    """Metrics of all queries and by direction, re-ranked ones beside them."""
    named = {"all": report.all, "forward": report.forward, "backward": report.backward}
    if report.reranked is not None:
        again = report.reranked
        named |= {f"{name}, re-ranked": getattr(again, name) for name in ("all", "forward", "backward")}
    if by_relation:
        named |= {f"relation {name}": metrics for name, metrics in report.by_relation.items()}
    rows: list[list[Cell]] = [
        [name, m.queries, *(f"{value:.4f}" for value in (m.mrr, m.hits1, m.hits3, m.hits10)), f"{m.mr:.1f}"]
        for name, m in named.items()
    ]
    print_table(["queries", "number", "MRR", "Hits@1", "Hits@3", "Hits@10", "MR"], rows, title=title, json=json)
