"""`pmd show`: the card of one number, by the id that stands beside it in every table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_ray.cli.options import Json
from pmd_ray.cli.output import Cell, print_json, print_table, say, warn
from pmd_ray.spec.errors import PmdError, UserError

if TYPE_CHECKING:
    from pmd_ray.report.card import Card, StageCard
    from pmd_ray.report.find import Found
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store

SHORT = 16
"""Digits of a stage key that are shown; `--json` has all."""
USES_SHOWN = 6
"""Rows; a stage may serve every trial of a search."""
COLUMNS = ("seed", "MRR", "Hits@1", "Hits@3", "Hits@10", "MR", "validation MRR", "seconds", "CPU s", "state", "stage")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("show")(show)


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a row, or the first digits of a stage's key.")],
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]", help="A study's or search's folder (default: all in ./runs).", show_default=False
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="PLACE", help="Look in a storage instead, in all its studies.")
    ] = None,
    json: Json = False,
) -> None:
    """Show where a figure comes from: variant, stages, data, code, machines, cost, attempts, artifact."""
    from pmd_ray.report.card import card
    from pmd_ray.report.find import find
    from pmd_ray.store.location import without_secrets
    from pmd_ray.store.store import Store

    if run is not None and storage is not None:
        raise UserError("give a study's folder or --storage, not both")
    if storage is not None:
        store = Store.open(storage, create=False)
        records, where, stored = _registered(store), without_secrets(store.location), store.keys()
    else:
        records, where = (_read(run), str(run)) if run is not None else (_in_runs(), "./runs")
        store, stored = None, []
    found = find(id, records, stored=stored, where=where)

    def store_of(found: Found) -> Store:
        return store or Store.open(found.places[0].record.storage, create=False)

    told = card(found, store_of)
    if json:
        print_json(told.json())
        return
    _draw(told)


def _read(run: Path) -> list[StudyRecord]:
    """A study's record, or a search's with the study that confirms it."""
    from pmd_ray.spec.search_folder import is_search
    from pmd_ray.spec.study_folder import read_record

    if not is_search(run):
        return [read_record(run)]
    from pmd_ray.cli.search_report import confirming_record, stored_record
    from pmd_ray.report.search_as_study import search_as_study

    record, _ = stored_record(run)
    confirmed = confirming_record(record, run)
    return [search_as_study(record), *([confirmed] if confirmed else [])]


def _in_runs() -> list[StudyRecord]:
    """Every study and search in ./runs; what cannot be read is left out with a warning."""
    records = []
    for path in sorted([*Path("runs").glob("*/study.json"), *Path("runs").glob("*/search.json")]):
        try:
            records += _read(path.parent)
        except PmdError as error:
            warn(f"left out: {error}")
    if not records:
        raise UserError("no study in ./runs; name its folder: pmd show ID RUN, or a storage: pmd show ID --storage DIR")
    return records


def _registered(store: Store) -> list[StudyRecord]:
    """Every study and search that a storage knows."""
    from pmd_ray.cli.stored import records_of
    from pmd_ray.report.search_as_study import search_as_study
    from pmd_ray.spec.search_record import SearchRecord

    records = []
    for name, record in records_of(store).items():
        if record is None:
            warn(f"left out: {name} was written by another version")
        else:
            records.append(search_as_study(record) if isinstance(record, SearchRecord) else record)
    return records


def _draw(card: Card) -> None:
    rows: list[list[Cell]] = [[f"id {card.id[:SHORT]}", ""]]
    for use in card.uses[:USES_SHOWN]:
        network = f"{use.layers} layers, {use.role}, mask {use.mask_rate:g}"
        rows.append(["row", f"{use.variant}, grade {use.grade}: {network} (study {use.study})"])
        rows += [["tuned", use.arm]] if use.arm else []
        rows += [["differs in", use.difference]] if use.difference else []
    rows += [["", f"and {len(card.uses) - USES_SHOWN} rows more"]] if len(card.uses) > USES_SHOWN else []
    for use in card.uses[:1]:
        rows.append(["data", f"{use.dataset}, fingerprint {use.dataset_fingerprint}"])
        rows.append(["encoder", use.encoder])
    rows += [[name, value] for name, values in _origin(card).items() for value in values]
    _say_pairs(rows)
    say("")
    print_table(list(COLUMNS), [_figures(stage) for stage in card.stages])
    if any(stage.valid_mrr is not None and not stage.metrics for stage in card.stages):
        say("test figures are not shown of what only a search's trials use: they would choose; see its confirmation")
    for stage in card.stages:
        seed = "" if stage.seed is None else f"seed {stage.seed}: "
        say("")
        say(" <- ".join([f"{seed}{stage.key[:SHORT]}", *(f"{grade} {key[:SHORT]}" for grade, key in stage.parents)]))
        say(f"  {stage.where}")
        for attempt in stage.attempts:
            failure = f" ({attempt.failure.value}: {attempt.message})" if attempt.failure else ""
            say(
                f"  {attempt.started} on {attempt.host}: {attempt.state.value}{failure}, {attempt.seconds:.0f} s, "
                f"{attempt.epochs_finished} epochs from {attempt.first_epoch}"
            )


def _origin(card: Card) -> dict[str, list[str]]:
    """What the artifacts tell of their making, each thing once."""
    from pmd_ray.report.origin import commit_text, machine_text, versions_text

    known = [stage.provenance for stage in card.stages if stage.provenance is not None]
    texts = {"code": commit_text, "machine": machine_text, "versions": versions_text}
    told = {name: [text(one) for one in known] for name, text in texts.items()}
    told["command"] = [one.command for one in known if one.command]
    told["latency"] = [
        f"{', '.join(f'{ms:.1f} ms for a batch of {batch}' for batch, ms in stage.costs.latency_ms.items())}, "
        f"{stage.costs.device or 'unknown device'} (seed {stage.seed})"
        for stage in card.stages
        if stage.costs is not None and stage.costs.latency_ms
    ]
    return {name: list(dict.fromkeys(value for value in values if value)) for name, values in told.items()}


def _figures(stage: StageCard) -> list[Cell]:
    test = [stage.metrics.get(name) for name in ("mrr", "hits@1", "hits@3", "hits@10")]
    mr = stage.metrics.get("mr")
    return [
        "-" if stage.seed is None else str(stage.seed),
        *(None if value is None else f"{value:.4f}" for value in test),
        None if mr is None else f"{mr:.1f}",
        None if stage.valid_mrr is None else f"{stage.valid_mrr:.4f}",
        *(None if spent is None else f"{spent:.0f}" for spent in (stage.seconds, stage.cpu_seconds)),
        stage.state,
        stage.key[:SHORT],
    ]


def _say_pairs(rows: list[list[Cell]]) -> None:
    for name, value in rows:
        say(f"{name!s:<12}{value}".rstrip())
