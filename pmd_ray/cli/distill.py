"""`pmd distill`: train a chain of grades, teacher to smallest student."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmd_ray.cli.options import GraphStorage, Home, Json
from pmd_ray.cli.output import Cell, print_json, print_table, say
from pmd_ray.cli.quiet import quieten
from pmd_ray.cli.stopping import stoppable

if TYPE_CHECKING:
    from pmd_ray.spec.results import ChainResult

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting: mask.rate=0.1, grades.6.optimiser.lr=1e-4, grades.*.mask.policy=uniform. Repeatable.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("distill")(distill)


def distill(
    context: typer.Context,
    chain: Annotated[str, typer.Argument(metavar="CHAIN", help="A chain file, a shipped chain (demo) or a preset.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where grades go (default: runs/CHAIN).")
    ] = None,
    overrides: Overrides = None,
    workers: Annotated[
        str,
        typer.Option(
            metavar="N|MIN:MAX[,spread][,LABEL=VALUE]", help="Workers of each grade; 1 trains inside this process."
        ),
    ] = "1",
    gpu: Annotated[bool, typer.Option("--gpu", help="Give each worker of a group a GPU.")] = False,
    home: Home = None,
    storage: GraphStorage = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the chain and print it, every setting written out; train nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a teacher and its smaller and smaller students on a graph with texts; the same command goes on."""
    from pmd_ray.spec.chain_file import dump_chain, load_chain

    config = load_chain(chain, overrides or [])
    if dry_run:
        if json:
            print_json(config.model_dump(mode="json", by_alias=True))
        else:
            say(dump_chain(config))
        return
    quieten(context)
    out = out or Path("runs") / Path(chain).stem
    with stoppable(f"interrupted; what is finished is kept in {out}, the same command goes on"):
        from pmd_ray.cli.training_progress import told
        from pmd_ray.run.cluster import leads
        from pmd_ray.run.distil import distil
        from pmd_ray.run.workers import WorkerPlan
        from pmd_ray.spec.places import Places

        plan = WorkerPlan.parse(workers, gpu=gpu)
        places = Places(cache=out.absolute() / "cache", data_home=home, storage=storage)
        with told() as listen:
            result = distil(config, out, places=places, plan=plan, listen=listen)
    if not leads():  # Under torchrun, one of the workers speaks for all.
        return
    if json:
        print_json(chain_json(result))
    show_chain(result, json=json)


def chain_json(result: ChainResult) -> dict[str, Any]:
    """The result as the one JSON object of `--json`."""
    rows = [grade_json(result, place) for place in range(len(result.grades))]
    whole = result.model_dump(mode="json", exclude={"grades"})
    return {**whole, "grades": rows}


def grade_json(result: ChainResult, place: int) -> dict[str, Any]:
    """One grade: its network, its test metrics, its cost."""
    grade = result.grades[place]
    test = grade.test.all.model_dump(by_alias=True) if grade.test else {}
    return {
        "name": grade.name,
        "layers": grade.layers,
        "parameters": grade.parameters,
        "mask_rate": grade.mask_rate,
        "teacher": grade.teacher,
        "control_of": grade.control_of,
        **test,
        "valid_mrr": grade.valid.all.mrr if grade.valid else None,
        "share_of_teacher": result.share_of_teacher(place),
        "best_epoch": grade.best_epoch,
        "steps": grade.steps,
        "seconds": grade.seconds,
        "cpu_seconds": grade.cpu_seconds,
        "key": grade.key,
    }


def show_chain(result: ChainResult, *, json: bool) -> None:
    """The table at the end: each grade, and beside a student the same network without a teacher."""
    rows: list[list[Cell]] = []
    for place, grade in enumerate(result.grades):
        test, share = grade.test, result.share_of_teacher(place)
        if test is None:
            continue
        metrics = test.all
        role = f"{grade.control_of} without teacher" if grade.control_of else grade.name
        rows.append(
            [
                role,
                grade.layers,
                f"{grade.parameters / 1e6:.1f}M",
                f"{grade.mask_rate:g}",
                *(f"{value:.3f}" for value in (metrics.mrr, metrics.hits1, metrics.hits3, metrics.hits10)),
                "-" if share is None else f"{100 * share:.0f} %",
                f"{grade.seconds:.0f}",
            ]
        )
    columns = ["grade", "layers", "parameters", "mask", "MRR", "Hits@1", "Hits@3", "Hits@10", "of teacher", "seconds"]
    title = f"{result.dataset}, test split, filtered, both directions, seed {result.seed}"
    print_table(columns, rows, title=title, json=json)
    say(f"\nmodels and ranks: {result.out}\ncurves: tensorboard --logdir {result.out}/tensorboard", json=json)
