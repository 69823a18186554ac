"""`pmd plan`: what a study will train, what is shared or stored, what it costs and what it can show."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.ablate import STORAGE, Cpus, Device, Slots, Storage
from pmd_ray.cli.distill import Overrides
from pmd_ray.cli.options import Home, Json
from pmd_ray.cli.output import Cell, print_json, print_table, say, warn

if TYPE_CHECKING:
    from pmd_ray.plan.power import QuestionPower
    from pmd_ray.plan.study_plan import StudyPlan
    from pmd_ray.spec.study import StudyConfig
    from pmd_ray.store.store import Store

GB = 1e9


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("plan")(plan)


def plan(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="An ablation or a search space, or a shipped one's name (quickstart, search_spaces/quickstart).",
        ),
    ],
    overrides: Overrides = None,
    storage: Storage = STORAGE,
    device: Device = "auto",
    cpus: Cpus = 1,
    slots: Slots = None,
    home: Home = None,
    dot: Annotated[bool, typer.Option("--dot", help="Print the stage tree as Graphviz text (dot -Tsvg).")] = False,
    json: Json = False,
) -> None:
    """Show what a study will train, what is shared or stored already, what it costs and what it can show."""
    from pmd_ray.plan.dot import dot as graphviz
    from pmd_ray.plan.identities import device_named
    from pmd_ray.spec.errors import UserError
    from pmd_ray.spec.study_file import load_study
    from pmd_ray.store.location import without_secrets

    if dot and json:
        raise UserError("--dot and --json: one output at a time; leave one of them out")
    if is_search_file(file):
        if dot:
            raise UserError(f"--dot: {file} is a search, whose stages are not known beforehand; leave it out")
        _plan_search(file, overrides or [], storage, device, cpus=cpus, slots=slots, home=home, json=json)
        return
    study = load_study(file, overrides or [])
    made = plan_of(study, store=existing_store(storage), device=device_named(device), cpus=cpus, slots=slots, home=home)
    if dot:
        print(graphviz(made))
    elif json:
        print_json({"file": file, "storage": without_secrets(storage), **made.json()})
    else:
        show_plan(made, storage=without_secrets(storage))


def is_search_file(file: str) -> bool:
    """Whether a file, or a shipped one's name, is a search space; an ablation where both have the name."""
    from pmd_ray.spec.search_file import shipped_searches
    from pmd_ray.spec.study_file import shipped_studies

    path = Path(file)
    if path.is_file():
        return re.search(r"^space:", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE) is not None
    return path.parent == Path("search_spaces") or (file in shipped_searches() and file not in shipped_studies())


def _plan_search(
    file: str,
    overrides: Sequence[str],
    storage: str,
    device: str,
    *,
    cpus: int,
    slots: int | None,
    home: Path | None,
    json: bool,
) -> None:
    from pmd_ray.cli.search_plan import search_plan_of, show_search_plan
    from pmd_ray.plan.identities import device_named
    from pmd_ray.spec.search_file import load_search
    from pmd_ray.store.location import without_secrets

    search = load_search(file, overrides)
    made = search_plan_of(
        search, store=existing_store(storage), device=device_named(device), cpus=cpus, slots=slots, home=home
    )
    if json:
        print_json({"file": file, "storage": without_secrets(storage), **made.json()})
    else:
        show_search_plan(made, storage=storage)


def existing_store(storage: str) -> Store | None:
    """The store at a place; None where there is none yet: nothing is stored there.

    Raises:
        UserError: something else lies there.
        StorageError: no answer.
    """
    from pmd_ray.spec.errors import UserError

    if "://" not in storage and not Path(storage).expanduser().exists():
        return None
    from pmd_ray.store.store import Store

    try:
        return Store.open(storage, create=False)
    except UserError as error:
        if "holds no store" in str(error):
            return None
        raise


def plan_of(
    study: StudyConfig,
    *,
    store: Store | None,
    device: str,
    cpus: int = 1,
    slots: int | None = None,
    home: Path | None = None,
) -> StudyPlan:
    """Plan a study with what a store knows of it.

    Args:
        study: Every chain written out.
        store: None where there is none yet.
        device: `cpu` or `cuda`.
        cpus: Cores of each stage.
        slots: Stages at once; None is as many as this machine holds.
        home: Where fetched datasets lie.
    """
    from pmd_ray.cli.measured import known_stages
    from pmd_ray.plan import machine
    from pmd_ray.plan.identities import identify
    from pmd_ray.plan.study_plan import make_plan
    from pmd_ray.plan.tree import build_tree
    from pmd_ray.run.graphs import bring_graph
    from pmd_ray.spec.places import Places

    graphs = bring_graph(study.variants[0].arms[0].chain.dataset.source, Places(), store).graphs
    identities = identify(study, device=device, home=home, graphs=graphs)
    tree = build_tree(study.runs(), identities.facts_of)
    stored, measured = known_stages(store, tree, identities)
    return make_plan(
        study,
        identities=identities,
        tree=tree,
        stored=stored,
        measured=measured,
        slots=slots or machine.stages_at_once(device, cpus=cpus),
        threads=cpus,
        memory=machine.memory_bytes() if device == "cpu" else None,
    )


def say_plan(made: StudyPlan) -> None:
    """Say on standard error what is about to be trained, how long it takes, and what to know before."""
    study, count = made.study, len(made.left)
    stages = f"{made.tree.distinct} stages ({made.tree.naive} without sharing), {made.stored} stored"
    say(f"{study.name}: {_runs(made)}: {stages}, {count} to train", json=True)
    if count:
        say(_cost(made), json=True)
    for text in (*made.identities.missing, *made.warnings):
        warn(text)


def show_plan(made: StudyPlan, *, storage: str) -> None:
    """The whole plan on a terminal; warnings on standard error."""
    from pmd_ray.plan.draw import ASCII, Glyphs, tree_lines

    study = made.study
    say(f"{study.name}: {study.about}" if study.about else study.name)
    say(_dataset(made))
    left = f"{len(made.left)} to train"
    stored = f"{made.stored} stored in {storage}" if made.stored else f"nothing stored in {storage}"
    say(f"{_runs(made)}: {made.tree.naive} stages, {made.tree.distinct} distinct, {stored}, {left}\n")
    _show_variants(made)
    say(f"\neach line x {_counted(len(study.seeds), 'seed')}; layers:mask rate, from the teacher on; cost; for whom")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    glyphs = Glyphs() if "utf" in (sys.stdout.encoding or "").lower() else ASCII
    for line in tree_lines(made, width=width, glyphs=glyphs):
        say(line)
    stage, largest = made.largest
    say(f"\n{_cost(made)}")
    say(f"memory: up to {largest / GB:.1f} GB for a stage ({stage.grade.layers} layers)")
    if made.power:
        say("")
        _show_power(made.power)
    for text in (*made.identities.missing, *made.warnings):
        warn(text)


def _show_variants(made: StudyPlan) -> None:
    rows: list[list[Cell]] = []
    for variant in made.variants:
        told = "; ".join(f"{key}: {value}" for key, value in variant.difference.items()) or "-"
        if variant.alias_of is not None:
            told = f"as {variant.alias_of}: {told}"
        rows.append([variant.name, told, variant.stages, variant.new_stages, variant.left])
    print_table(["variant", "difference", "stages", "new", "to train"], rows)


def _runs(made: StudyPlan) -> str:
    study = made.study
    arms = len(study.variants[0].arms)
    variants = sum(variant.alias_of is None for variant in study.variants)
    parts = [_counted(variants, "variant"), _counted(len(study.seeds), "seed")]
    return " x ".join(parts + ([_counted(arms, "nuisance choice")] if arms > 1 else []))


def _dataset(made: StudyPlan) -> str:
    sizes, record = made.identities.texts.sizes, made.identities.dataset
    name = record.name if record else made.identities.source
    return (
        f"{name}: {sizes.entities:,} entities, {sizes.relations:,} relations; triples: {sizes.train:,} train, "
        f"{sizes.valid:,} valid, {sizes.test:,} test; on {'GPUs' if made.unit == 'GPU' else 'CPUs'}"
    )


def _cost(made: StudyPlan) -> str:
    from pmd_ray.plan.draw import duration

    at_once = f"{_counted(made.slots, 'stage')} at once"
    saved = f"; {duration(made.naive_hours * 3600)} without sharing and storage" if made.naive_hours else ""
    spent = f"about {duration(made.hours * 3600)} of {made.unit} time, {duration(made.wall_seconds)} with {at_once}"
    return f"cost: {spent}{saved}\n  {made.source}"


def _show_power(questions: Sequence[QuestionPower]) -> None:
    """What each question can show, and what that rests on."""
    first = questions[0]
    rows: list[list[Cell]] = []
    for question in questions:
        if question.margin is None:
            shown = f"{question.difference:.3f}" if question.difference is not None else "nothing"
            hint = f"{question.by_interval:.3f}" if question.by_interval is not None else "-"
        else:
            found = question.smallest_margin
            shown, hint = f"margin {question.margin:g}", "nothing" if found is None else f"margin {found:.3f}"
        rows.append([question.question, question.metric, question.comparisons, shown, hint, question.fewest_seeds])
    title = f"power: {_counted(first.seeds, 'seed')}, {first.triples:,} test triples, {first.power:.0%} probability"
    columns = ["question", "metric", "tests", "shows from", "interval alone", "seeds needed"]
    print_table(columns, rows, title=title)
    say("  shows from: the smallest true difference that is found; interval alone: at which it leaves out 0")
    say("  " + "; ".join(dict.fromkeys(f"{question.metric}: {question.assumed}" for question in questions)))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
