"""`pmd search`: find layers, masks and weights for a graph, confirm the best over fresh seeds, write its chain file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.ablate import STORAGE, Cpus, Device, Given, Gpus, Slots, Storage, Workers, options_for
from pmd_ray.cli.distill import Overrides
from pmd_ray.cli.options import Home, Journal, Json, SearchFormats, formats_of
from pmd_ray.cli.output import print_json, say, warn
from pmd_ray.cli.quiet import quieten
from pmd_ray.cli.stopping import stoppable

if TYPE_CHECKING:
    from pmd_ray.run.search.search import PreparedSearch, Searched
    from pmd_ray.run.study import StudyOptions
    from pmd_ray.spec.search import SearchConfig
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store

AtOnce = Annotated[
    int | None,
    typer.Option(
        "--at-once",
        metavar="N",
        min=1,
        help="Trials at once (default: stages at once). 1 tries the same points again, whatever the machine.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("search")(search)


def search(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A search space, or a shipped one's name (quickstart).")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where record and report go (default: runs/search-NAME)."),
    ] = None,
    overrides: Overrides = None,
    storage: Storage = STORAGE,
    device: Device = "auto",
    cpus: Cpus = 1,
    gpus: Gpus = None,
    slots: Slots = None,
    workers: Workers = "1",
    at_once: AtOnce = None,
    journal: Journal = None,
    home: Home = None,
    formats: SearchFormats = None,
    json: Json = False,
) -> None:
    """Try chains around a baseline, end bad ones early, confirm the best over fresh seeds; the same command goes on."""
    from pmd_ray.spec.search_file import find_search, load_search

    found = load_search(file, overrides or [])
    out = out or Path("runs") / f"search-{found.name}"
    path = find_search(file)
    told = str(path.absolute()) if path.is_file() and Path(file).is_file() else path.stem
    options = options_for(device, cpus=cpus, gpus=gpus, slots=slots, workers=workers, storage=storage, home=home)
    run_search_verb(
        context,
        found,
        out,
        options,
        storage=storage,
        file=told,
        overrides=overrides or [],
        at_once=at_once,
        journal=journal,
        formats=formats,
        json=json,
    )


def resume_search(
    context: typer.Context,
    run: Path,
    given: Given,
    *,
    journal: Path | None,
    formats: list[str] | None,
    json: bool,
) -> None:
    """Go on with a search where it stopped; refuses, with the difference, when its file means something else now."""
    from pmd_ray.spec.errors import UserError
    from pmd_ray.spec.search_changes import search_changes
    from pmd_ray.spec.search_file import load_search, shipped_searches
    from pmd_ray.spec.search_folder import read_search

    record = read_search(run)
    found = record.search
    if record.file in shipped_searches() or Path(record.file).is_file():
        found = load_search(record.file, record.overrides)
        if differences := search_changes(record.search, found):
            lines = "\n  ".join([f"{record.file} means something else than when {run} was started:", *differences])
            raise UserError(
                f"{lines}\n  put the file back, or run it as another search: pmd search {record.file} --out OTHER "
                "--set name=OTHER (what is equal is taken from the storage)"
            )
    else:
        warn(f"{record.file} is not there any more; going on from the record in {run}")
    options = given.over(record)
    run_search_verb(
        context,
        found,
        run,
        options,
        storage=record.storage,
        file=record.file,
        overrides=record.overrides,
        at_once=record.at_once,
        journal=journal,
        formats=formats,
        json=json,
    )


def run_search_verb(
    context: typer.Context,
    found: SearchConfig,
    out: Path,
    options: StudyOptions,
    *,
    storage: str,
    file: str,
    overrides: Sequence[str],
    at_once: int | None,
    journal: Path | None,
    formats: list[str] | None,
    json: bool,
) -> None:
    """Plan, search, confirm, report."""
    quieten(context, loads_models=False)
    with stoppable(f"interrupted; what is finished is kept, pmd resume {out} goes on"):
        from pmd_ray.cli.plan import existing_store
        from pmd_ray.cli.search_plan import say_search_plan, search_plan_of
        from pmd_ray.cli.search_progress import search_told
        from pmd_ray.plan import machine
        from pmd_ray.report.search_report import FORMATS
        from pmd_ray.report.writer import checked_formats
        from pmd_ray.run.search.search import continued, prepare_search, run_search
        from pmd_ray.store.store import Store

        wanted = formats_of(formats)
        checked_formats(wanted, FORMATS)  # hours before the report is written
        if journal is not None:
            from pmd_ray.run.search.journal import check_journal

            check_journal(journal)
        slots = options.slots or machine.stages_at_once(
            options.device, cpus=options.cpus, gpus_each=options.gpus_of_stage or 1.0
        )
        plan = search_plan_of(
            found,
            store=existing_store(storage),  # one is made only for what can be trained
            device=options.device,
            cpus=options.cpus,
            slots=slots,
            at_once=at_once,
            home=options.places.data_home,
        )
        store = Store.open(storage)
        prepared = prepare_search(
            found,
            store,
            options,
            identities=plan.trials.identities,
            file=file,
            overrides=overrides,
            at_once=at_once or slots,
        )
        continued(prepared.record, store, out.absolute())  # refuses another search before anything is said
        say_search_plan(plan, storage=storage)
        with search_told(prepared.record) as (listen, listen_stages):
            searched = run_search(prepared, out, options, listen=listen, listen_stages=listen_stages)
        record = searched.record
        if journal is not None:
            from pmd_ray.run.search.journal import write_journal

            write_journal(record, journal)
        confirmed, whole = _confirm(prepared, searched, out, options, formats=wanted)
        _report(searched, confirmed, store, out, formats=wanted, json=json)
    if not whole or not any(trial.state.value == "done" for trial in record.trials):
        raise typer.Exit(1)


def _confirm(
    prepared: PreparedSearch, searched: Searched, out: Path, options: StudyOptions, *, formats: list[str] | None
) -> tuple[StudyRecord | None, bool]:
    """Train the best and the default over fresh seeds, as an ablation of its own, and say whether all of it came true.

    No study where nothing is to confirm.
    """
    from pmd_ray.cli.plan import plan_of, say_plan
    from pmd_ray.cli.search_report import report_confirmation
    from pmd_ray.cli.study_progress import study_told
    from pmd_ray.run.search.confirm import confirming_study, make_way, note_confirmed
    from pmd_ray.run.study import prepare, run_study
    from pmd_ray.spec.search_folder import CONFIRM

    study = confirming_study(searched.record)
    if study is None:
        return None, True
    say("\nconfirmation: the best against the default, fresh seeds, scored on test", json=True)
    made = prepare(study, prepared.store, replace(options), file=searched.record.file)
    plan = plan_of(
        study,
        store=prepared.store,
        device=options.device,
        cpus=options.cpus,
        slots=options.slots,
        home=options.places.data_home,
    )
    say_plan(plan)
    make_way(out / CONFIRM, study)
    with study_told(made.tree, plan.seconds, stored=plan.stored) as listen:
        walked = run_study(made, out / CONFIRM, options, cost=plan.seconds, listen=listen)
    report_confirmation(made.record, prepared.store, out / CONFIRM, formats=formats)
    if walked.stopped:
        warn(f"the confirmation stopped early: {walked.stopped}")
    whole = not (walked.failed or walked.skipped)
    if whole:
        note_confirmed(searched.record, prepared.store, out, folder=CONFIRM)
    return made.record, whole


def _report(
    searched: Searched,
    confirmed: StudyRecord | None,
    store: Store,
    out: Path,
    *,
    formats: list[str] | None,
    json: bool,
) -> None:
    from pmd_ray.cli.search_report import show_search
    from pmd_ray.report.search_report import write_search_report
    from pmd_ray.store.location import without_secrets

    record, where = searched.record, without_secrets(store.location)
    written = write_search_report(record, store, out, formats=formats, confirmed=confirmed)
    if json:
        print_json(
            {
                "search": record.search.name,
                "storage": where,
                "stopped": record.stopped,
                "trained": searched.trained,
                **written.json(),
            }
        )
    show_search(written, out, json=json)
    say(f"{searched.trained} stages trained for trials of this run; storage {where}", json=json)
    if record.stopped:
        say(f"the search ended: {record.stopped}", json=json)
