"""The page of a search: one HTML file without any network; the template holds the words and the looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_ray.report.comparisons import comparisons_shown, seeds_captions
from pmd_ray.report.draw import Drawing, for_page
from pmd_ray.report.measures import TITLES
from pmd_ray.report.page import RESULT_CAPTION, Drawn, rendered, result_of
from pmd_ray.report.search_contents import SearchContents
from pmd_ray.report.search_importance import importance_shown, too_few
from pmd_ray.report.search_isolation import isolation_shown
from pmd_ray.report.search_sharing import Sharing, sharing_sheet, sharing_text
from pmd_ray.report.search_sheets import best_shown, close_text, early_shown, trials_shown
from pmd_ray.report.search_trials import Round
from pmd_ray.report.sheet import Sheet
from pmd_ray.spec.search_record import SearchRecord, TrialState
from pmd_ray.stats.words import Verdict

if TYPE_CHECKING:
    from pmd_ray.report.origin import Told

TEMPLATE = "search_page.html.j2"
SECTIONS = (
    ("result", "Result"),
    ("best", "Best"),
    ("figures", "Figures"),
    ("isolation", "Isolation"),
    ("importance", "Importance"),
    ("early", "Pruned, failed"),
    ("sharing", "Sharing"),
    ("trials", "Trials"),
    ("origin", "Origin"),
)
CAPTIONS = {
    "incumbent": "Validation value of each trial that was done, and the best so far of its round (line).",
    "pareto": "Validation value against what a chain costs. The line joins trials that no other one beats in both; the "
    "diamond is the default, triangles are other points that were tried first.",
    "slices": "Validation value against each parameter; what nothing reads is not drawn, and so not there. Hollow "
    "marks lie outside the space.",
    "parallel": "One line a trial of the space, from its parameters to its value; the better, the warmer.",
    "weights": "Validation value over the weights of score loss (α) and feature loss (β); the best is ringed.",
}


@dataclass(frozen=True, kw_only=True)
class SearchPage:
    """Everything that the template is given."""

    title: str
    about: str
    setting: str
    warnings: tuple[str, ...]
    sections: tuple[tuple[str, str], ...]
    confirmed: tuple[str, ...]
    """Sentences on the best, trained again; none: nothing was scored on test."""
    result: Sheet | None
    comparisons: Sheet | None
    statistics: tuple[str, ...]
    untested: str
    """What is said while there is no confirmation."""
    best: Sheet
    close: tuple[str, ...]
    best_files: tuple[str, ...]
    figures: tuple[Drawn, ...]
    importance: Sheet
    too_few: tuple[str, ...]
    isolation: Sheet
    pruned: Sheet
    failed: Sheet
    sharing_text: str
    sharing: Sheet
    trials: Sheet
    facts: tuple[tuple[str, str], ...]
    told: tuple[tuple[str, tuple[Told, ...]], ...]
    files: tuple[str, ...]
    good: tuple[str, ...] = (Verdict.BETTER.value, Verdict.NOT_INFERIOR.value)
    bad: tuple[str, ...] = (Verdict.WORSE.value,)
    wrapped: tuple[str, ...] = ("note", "settings", "reason", "cannot be told from it", "question")
    """Columns whose texts may run over several lines."""


def search_page_html(found: SearchContents, drawings: Sequence[Drawing], files: Sequence[Path]) -> str:
    """The whole page; files are paths relative to it."""
    return rendered(TEMPLATE, build_search_page(found, drawings, files))


def build_search_page(found: SearchContents, drawings: Sequence[Drawing], files: Sequence[Path]) -> SearchPage:
    """What the page says."""
    from markupsafe import Markup

    record, study = found.record, found.study
    return SearchPage(
        title=record.search.name,
        about=record.search.about,
        setting=_setting(record),
        warnings=warnings_of(found),
        sections=tuple(section for section in SECTIONS if section[0] != "figures" or drawings),
        confirmed=tuple(one.sentence for one in found.confirmed),
        result=result_of(study, caption=RESULT_CAPTION) if study else None,
        comparisons=comparisons_shown(study.answers) if study else None,
        statistics=tuple(seeds_captions(study.answers)) if study else (),
        untested=_untested(record),
        best=best_shown(found.rounds),
        close=tuple(text for one in found.rounds if (text := _close(one))),
        best_files=tuple(name for name in found.best_files if Path(name) in files),
        # Drawn by us, names escaped by matplotlib's writer of XML.
        figures=tuple(Drawn(svg=Markup(for_page(one)), caption=CAPTIONS[one.name]) for one in drawings),
        importance=importance_shown(found.importances),
        too_few=tuple(too_few(found.rounds)),
        isolation=isolation_shown(found.isolated),
        pruned=early_shown(record, TrialState.PRUNED),
        failed=early_shown(record, TrialState.FAILED),
        sharing_text=sharing_text(found.sharing, gpu=found.gpu),
        sharing=sharing_sheet(found.sharing, gpu=found.gpu),
        trials=trials_shown(record),
        facts=_facts(record),
        told=_told(found.sharing),
        files=tuple(file.as_posix() for file in files if file.parts[0] != "tensorboard"),
    )


def warnings_of(found: SearchContents) -> tuple[str, ...]:
    """What must be said before the figures."""
    record = found.record
    running = sum(trial.state is TrialState.RUNNING for trial in record.trials)
    told = [edge.text for edge in found.edges]
    if running:
        told.append(f"{running} trial{'s' * (running != 1)} had not ended when this was written.")
    if not any(one.ranked for one in found.rounds):
        told.append("No trial is done: there is nothing to choose from.")
    if len(found.sharing.commits) > 1:
        told.append("The stages were not all trained by the same code; see Origin.")
    return (*told, *(f"Record and store do not agree: {text}." for text in found.sharing.complaints))


def _setting(record: SearchRecord) -> str:
    data, search = record.dataset, record.search
    counts = {state: sum(trial.state is state for trial in record.trials) for state in TrialState}
    ends = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    return (
        f"{data.name} ({data.entities:,} entities, {data.relations:,} relations, {data.valid:,} validation triples), "
        f"{len(record.trials)} trials ({ends}), strategy {search.search.strategy}, sampler {search.search.sampler}, "
        f"pruner {search.search.pruner}, seed {search.seed}, {record.at_once} at once, {record.device}. "
        f"Values: validation {TITLES[search.metric]} of the last grade."
    )


def _untested(record: SearchRecord) -> str:
    if record.search.confirm.best == 0:
        return "Nothing was scored on test: the search was asked for no confirmation."
    return "Nothing was scored on test yet: the best are trained again over fresh seeds first, and then compared."


def _close(one: Round) -> str:
    best = one.best
    if best is None or not one.close():
        return ""
    return f"{one.title}: within one standard error of trial {best.number} are {close_text(one, most=20)}."


def _facts(record: SearchRecord) -> tuple[tuple[str, str], ...]:
    facts: Mapping[str, str] = {
        "Graph": f"{record.dataset.name}, fingerprint {record.dataset.fingerprint}",
        **{f"Encoder {name}": fingerprint for name, fingerprint in record.encoders.items()},
        "Search": record.file + "".join(f" --set {text}" for text in record.overrides),
        "Ended": record.stopped or "not yet",
        "Started": record.created,
        "Wall-clock": f"{record.seconds / 3600:.2f} hours",
        "Command": record.command,
        "Storage": record.storage,
        "Threads of a stage": str(record.threads),
        "Known before": f"{len(record.warm)} trials of earlier searches" if record.warm else "",
    }
    return tuple((name, value) for name, value in facts.items() if value)


def _told(shared: Sharing) -> tuple[tuple[str, tuple[Told, ...]], ...]:
    return (("Code", shared.commits), ("Machines", shared.machines), ("Versions", shared.versions))
