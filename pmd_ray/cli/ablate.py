"""`pmd ablate` and `pmd resume`: train the stages of a study that are missing, and write its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.distill import Overrides
from pmd_ray.cli.options import EitherFormats, Formats, Home, Journal, Json, formats_of, gpus_of_stage
from pmd_ray.cli.output import print_json, say, warn
from pmd_ray.cli.quiet import quieten
from pmd_ray.cli.stopping import stoppable

if TYPE_CHECKING:
    from pmd_ray.run.study import Prepared, StudyOptions
    from pmd_ray.run.walk import Walked
    from pmd_ray.spec.search_record import SearchRecord
    from pmd_ray.spec.study import StudyConfig
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store

STORAGE = "runs/store"
"""Where stages lie by default: studies started in one folder share them."""

Storage = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="PMD_STORAGE",
        metavar="PLACE",
        help="Where trained stages are kept and shared: a folder, or s3://BUCKET/PATH.",
    ),
]
Device = Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Where stages are trained.")]
Cpus = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Cores, and threads, of each stage (of each of its workers)."),
]
Gpus = Annotated[
    float | None,
    typer.Option(metavar="SHARE", min=0.01, help="GPUs of each stage; 0.5 lets two share one (default: 1)."),
]
Slots = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Stages at once (default: as many as the machine or cluster holds)."),
]
Workers = Annotated[
    str,
    typer.Option(
        metavar="N|MIN:MAX[,spread][,LABEL=VALUE]", help="Workers of each stage; 1 trains inside one process."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("ablate")(ablate)
    app.command("resume")(resume)


def ablate(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An ablation file, or a shipped one's name (quickstart).")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where record and report go (default: runs/NAME).")
    ] = None,
    overrides: Overrides = None,
    storage: Storage = STORAGE,
    device: Device = "auto",
    cpus: Cpus = 1,
    gpus: Gpus = None,
    slots: Slots = None,
    workers: Workers = "1",
    home: Home = None,
    formats: Formats = None,
    json: Json = False,
) -> None:
    """Train each distinct stage of an ablation once, write tables, figures and a page; the same command goes on."""
    from pmd_ray.spec.study_file import find_study, load_study

    study = load_study(file, overrides or [])
    out = out or Path("runs") / study.name
    quieten(context, loads_models=False)
    path = find_study(file)
    told = str(path.absolute()) if path.is_file() and Path(file).is_file() else path.stem
    options = options_for(device, cpus=cpus, gpus=gpus, slots=slots, workers=workers, storage=storage, home=home)
    _run(study, out, storage, options, file=told, overrides=overrides or [], formats=formats, json=json)


def resume(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A study's folder, such as runs/quickstart.")],
    cpus: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cores of each stage (default: as before).")
    ] = None,
    gpus: Gpus = None,
    slots: Slots = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N|MIN:MAX[,spread][,LABEL=VALUE]", help="Workers of each stage (default: as before)."),
    ] = None,
    home: Home = None,
    journal: Journal = None,
    formats: EitherFormats = None,
    json: Json = False,
) -> None:
    """Go on with a study where it stopped; refuses, with the difference, when its file means something else now."""
    from pmd_ray.spec.errors import UserError
    from pmd_ray.spec.search_folder import CONFIRM, is_search
    from pmd_ray.spec.study_changes import changes
    from pmd_ray.spec.study_file import load_study, shipped_studies
    from pmd_ray.spec.study_folder import read_record

    if is_search(run):
        from pmd_ray.cli.search import resume_search

        given = Given(cpus=cpus, gpus=gpus, slots=slots, workers=workers, home=home)
        resume_search(context, run, given, journal=journal, formats=formats, json=json)
        return
    if journal is not None:
        raise UserError(f"--journal: {run} is no search and has no trials; leave it out")
    if is_search(run.parent) and run.name == CONFIRM:
        raise UserError(f"{run} confirms the search in {run.parent}; go on with it: pmd resume {run.parent}")
    record = read_record(run)
    study = record.study
    if record.file in shipped_studies() or Path(record.file).is_file():
        study = load_study(record.file, record.overrides)
        found = changes(record.study, study)
        if found:
            lines = "\n  ".join([f"{record.file} means something else than when {run} was started:", *found])
            raise UserError(
                f"{lines}\n  put the file back, or run it as another study: pmd ablate {record.file} --out OTHER "
                "(what is equal is taken from the storage)"
            )
    else:
        warn(f"{record.file} is not there any more; going on from the record in {run}")
    quieten(context, loads_models=False)
    options = Given(cpus=cpus, gpus=gpus, slots=slots, workers=workers, home=home).over(record)
    _run(study, run, record.storage, options, file=record.file, overrides=record.overrides, formats=formats, json=json)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What `pmd resume` was told; None is as before."""

    cpus: int | None
    gpus: float | None
    slots: int | None
    workers: str | None
    home: Path | None

    def over(self, record: StudyRecord | SearchRecord) -> StudyOptions:
        """How stages are run: as told, else as the record has it."""
        earlier = Path(record.home) if record.home else None
        return options_for(
            record.device,
            cpus=self.cpus or record.threads,
            gpus=self.gpus or (record.gpus if record.device == "cuda" else None) or None,
            slots=self.slots or record.slots,
            workers=self.workers or record.workers,
            storage=record.storage,
            home=self.home or earlier,
        )


def options_for(
    device: str, *, cpus: int, gpus: float | None, slots: int | None, workers: str, storage: str, home: Path | None
) -> StudyOptions:
    """How stages are run, from the options that ablations and searches share.

    Raises:
        UserError: they contradict each other, or name no device or number of workers.
    """
    from pmd_ray.plan.identities import device_named
    from pmd_ray.run.study import StudyOptions
    from pmd_ray.run.workers import WorkerPlan
    from pmd_ray.spec.places import Places

    kind = device_named(device)
    share = gpus_of_stage(gpus, kind, told=device)
    remote = "://" in storage and not storage.startswith("file://")
    cache = Path.home() / ".cache" / "pmd_ray" / "tokens" if remote else Path(storage.removeprefix("file://")) / "cache"
    return StudyOptions(
        places=Places(cache=cache.absolute(), data_home=home, storage=storage),
        device=kind,
        cpus=cpus,
        gpus=share,
        slots=slots,
        plan=WorkerPlan.parse(workers, gpu=kind == "cuda", cpus=cpus),
    )


def _run(
    study: StudyConfig,
    out: Path,
    storage: str,
    options: StudyOptions,
    *,
    file: str,
    overrides: Sequence[str],
    formats: list[str] | None,
    json: bool,
) -> None:
    from pmd_ray.spec.errors import UserError
    from pmd_ray.spec.search_folder import is_search

    if is_search(out):
        raise UserError(f"{out} holds a search; choose another folder with --out")
    with stoppable(f"interrupted; what is finished is kept, pmd resume {out} goes on"):
        from pmd_ray.cli.plan import plan_of, say_plan
        from pmd_ray.cli.study_progress import study_told
        from pmd_ray.report.study_report import FORMATS
        from pmd_ray.report.writer import checked_formats
        from pmd_ray.run.study import prepare, run_study
        from pmd_ray.store.store import Store

        checked_formats(formats_of(formats), FORMATS)  # hours before they are written

        store = Store.open(storage)
        prepared = prepare(study, store, options, file=file, overrides=overrides)
        plan = plan_of(
            study,
            store=store,
            device=options.device,
            cpus=options.cpus,
            slots=options.slots,
            home=options.places.data_home,
        )
        say_plan(plan)
        with study_told(prepared.tree, plan.seconds, stored=plan.stored) as listen:
            walked = run_study(prepared, out, options, cost=plan.seconds, listen=listen)
        _report(prepared, store, walked, out, formats=formats, json=json)
    if walked.failed or walked.skipped:
        raise typer.Exit(1)


def _report(
    prepared: Prepared, store: Store, walked: Walked, out: Path, *, formats: list[str] | None, json: bool
) -> None:
    from pmd_ray.cli.report import show_written
    from pmd_ray.report.study_report import write_report
    from pmd_ray.store.location import without_secrets

    where = without_secrets(store.location)
    written = write_report(prepared.record, store, out, formats=formats_of(formats))
    if walked.stopped:
        warn(f"the study stopped early: {walked.stopped}")
    if json:
        print_json(
            {
                "study": prepared.record.study.name,
                "out": str(out.absolute()),
                "storage": where,
                "stages": {
                    "naive": prepared.tree.naive,
                    "distinct": prepared.tree.distinct,
                    "trained": len(walked.trained),
                    "stored": len(walked.done) - len(walked.trained),
                    "failed": len(walked.failed),
                    "skipped": len(walked.skipped),
                },
                "failures": [
                    {"key": key, "kind": outcome.kind and outcome.kind.value, "message": outcome.message}
                    for key, outcome in walked.failed.items()
                ],
                **written.json(),
            }
        )
    show_written(written, out, json=json)
    trained, reused = len(walked.trained), len(walked.done) - len(walked.trained)
    say(f"{trained} stages trained, {reused} taken from {where}", json=json)
