"""The page: what a report says as one HTML file without any network; the template holds the words and the looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_ray.report.arms import tried
from pmd_ray.report.comparisons import question_shown, seeds_captions
from pmd_ray.report.contents import Contents
from pmd_ray.report.costs import cost_shown
from pmd_ray.report.draw import Drawing, for_page
from pmd_ray.report.failures import Failure
from pmd_ray.report.origin import Origin
from pmd_ray.report.page_sheets import arms_shown, directions_shown, relations_shown, variants_shown
from pmd_ray.report.paper import paper_sheet, paper_shown, why_not
from pmd_ray.report.sheet import Sheet
from pmd_ray.report.stage_tree import Node
from pmd_ray.report.summary import missing_text
from pmd_ray.report.summary_sheets import result_shown, summary_shown
from pmd_ray.stats.words import Verdict

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = "page.html.j2"
RESULT_CAPTION = "Intervals are for other seeds and other test triples; what so many seeds support stands below."
GRADES_CAPTION = (
    "Mean ± standard deviation over seeds. A verdict of “exploratory” stands where no question of the study asks for "
    "the difference: its p is not corrected for how many there are."
)
CAPTIONS = {
    "forest": "Difference to the control with its 95 % interval, over seeds and triples; dots are the seeds. A dashed "
    "line is the margin of non-inferiority.",
    "mrr_parameters": "Test MRR against parameters, embeddings included. Lines join the means of a chain's grades; "
    "small marks are the seeds.",
    "schedules": "Students by depth, as in the paper's Figure 2. Lines join means; small marks are the seeds, set "
    "apart sideways so that they can be seen.",
    "mask_rate": "One grade at several mask rates, all else equal, as in the paper's Figure 3; small marks are seeds.",
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure on the page."""

    svg: Markup
    caption: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that the template is given."""

    title: str
    about: str
    setting: str
    warnings: tuple[str, ...]
    sections: tuple[tuple[str, str], ...]
    result: Sheet
    figures: tuple[Drawn, ...]
    questions: tuple[Sheet, ...]
    statistics: tuple[str, ...]
    summary: Sheet
    paper: Sheet | str
    """The table, or why there is none."""
    directions: Sheet
    relations: Sheet
    variants: Sheet
    arms: Sheet | None
    tuning: str
    chains: int
    """Users of the tree's stages: variants, or variants with each choice of nuisance settings."""
    sharing: str
    tree: tuple[Node, ...]
    gaps: tuple[tuple[str, str], ...]
    failures: tuple[Failure, ...]
    bill: str
    costs: Sheet
    origin: Origin
    facts: tuple[tuple[str, str], ...]
    files: tuple[str, ...]
    good: tuple[str, ...] = (Verdict.BETTER.value, Verdict.NOT_INFERIOR.value)
    bad: tuple[str, ...] = (Verdict.WORSE.value,)
    wrapped: tuple[str, ...] = ("note", "differs in", "shared with", "question")
    """Columns whose texts may run over several lines."""


SECTIONS = (
    ("result", "Result"),
    ("figures", "Figures"),
    ("comparisons", "Comparisons"),
    ("grades", "Every grade"),
    ("paper", "Beside the paper"),
    ("parts", "Directions, relations"),
    ("variants", "What differs"),
    ("tree", "Stage tree"),
    ("failures", "Failures"),
    ("costs", "Costs"),
    ("origin", "Origin"),
)


def rendered(template: str, page: object) -> str:
    """A page from its template, which lies in this room; texts of graphs and errors are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(page=page)


def page_html(found: Contents, drawings: Sequence[Drawing], files: Sequence[Path]) -> str:
    """The whole page; files are paths relative to it."""
    return rendered(TEMPLATE, build_page(found, drawings, files))


def result_of(found: Contents, *, caption: str) -> Sheet:
    """The last grade of each variant."""
    last = {name: chain.last for name, chain in found.chains.items()}
    return result_shown(found.rows, last, caption=caption)


def build_page(found: Contents, drawings: Sequence[Drawing], files: Sequence[Path]) -> Page:
    """What the page says."""
    from markupsafe import Markup

    record, chains = found.record, list(found.chains.values())
    gaps = tuple((name, text) for name, chain in found.chains.items() if (text := missing_text(chain)))
    paper = paper_sheet(record, chains, found.numbers.per_seed)
    why = why_not(record) or "its variants are none of the paper's"
    shown = [file.as_posix() for file in files if file.parts[0] in ("tables", "figures")]
    return Page(
        title=record.study.name,
        about=record.study.about,
        setting=setting_text(found),
        warnings=_warnings(found, gaps),
        sections=tuple(section for section in SECTIONS if section[0] != "figures" or drawings),
        result=result_of(found, caption=RESULT_CAPTION),
        # Drawn by us, names escaped by matplotlib's writer of XML.
        figures=tuple(Drawn(svg=Markup(for_page(one)), caption=CAPTIONS[one.name]) for one in drawings),
        questions=tuple(_questions(found)),
        statistics=tuple(seeds_captions(found.answers)),
        summary=summary_shown(found.rows, caption=GRADES_CAPTION),
        paper=paper_shown(paper) if paper else why,
        directions=directions_shown(chains, found.numbers),
        relations=relations_shown(chains, found.evidence, found.numbers),
        variants=variants_shown(record),
        arms=arms_shown(found.arms) if tried(record) > 1 else None,
        tuning=_tuning(found),
        chains=len(found.arms),
        sharing=_sharing(found),
        tree=found.tree,
        gaps=gaps,
        failures=found.failures,
        bill=_bill(found),
        costs=cost_shown(found.costs),
        origin=found.origin,
        facts=_facts(found),
        files=tuple(shown),
    )


def setting_text(found: Contents) -> str:
    """One line: graph, encoder, seeds, device."""
    record = found.record
    data, chain = record.dataset, record.study.variants[0].arms[0].chain
    seeds = ", ".join(map(str, record.study.seeds))
    return (
        f"{data.name} ({data.entities:,} entities, {data.relations:,} relations, {data.test:,} test triples), "
        f"encoder {chain.encoder.name}, seeds {seeds}, {record.device}. Test split, filtered, both directions."
    )


def _warnings(found: Contents, gaps: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    warnings = []
    if found.bill.there < found.bill.distinct:
        warnings.append(
            f"{found.bill.there} of {found.bill.distinct} stages are there: figures are of the seeds that are "
            f"complete ({len(gaps)} variant{'s' * (len(gaps) != 1)} with seeds missing)."
        )
    if len(found.origin.commits) > 1:
        warnings.append("The stages were not all trained by the same code; see Origin.")
    return tuple(warnings)


def _questions(found: Contents) -> list[Sheet]:
    places = dict.fromkeys(answer.place for answer in found.answers)
    return [question_shown([answer for answer in found.answers if answer.place == place]) for place in places]


def _tuning(found: Contents) -> str:
    count = tried(found.record)
    names = ", ".join(found.record.study.roles.nuisance)
    return (
        f"{count} choices of {names} were tried for every variant. The one with the best mean validation MRR of the "
        "last grade is reported; test figures chose nothing."
    )


def _sharing(found: Contents) -> str:
    bill = found.bill
    return (
        f"{bill.naive} stages asked for by {len(found.record.runs)} chains are {bill.distinct} distinct ones, each "
        "trained once. Grades stand under the grade that teaches them; seeds are taken together."
    )


def _bill(found: Contents) -> str:
    bill = found.bill
    gpu = f" and {bill.gpu_hours:.2f} GPU-hours" if bill.gpu_hours else ""
    lost = f" {bill.lost_seconds:.0f} seconds were lost to attempts that failed." if bill.lost_seconds else ""
    tries = f" in {bill.attempts} attempt{'s' * (bill.attempts != 1)}" if bill.attempts else ""
    return f"{bill.there} stages took {bill.cpu_hours:.2f} CPU-hours{gpu}, each counted once{tries}.{lost}"


def _facts(found: Contents) -> tuple[tuple[str, str], ...]:
    record = found.record
    facts: Mapping[str, str] = {
        "Graph": f"{record.dataset.name}, fingerprint {record.dataset.fingerprint}",
        **{f"Encoder {name}": fingerprint for name, fingerprint in record.encoders.items()},
        "Study": f"{record.file}" + "".join(f" --set {text}" for text in record.overrides),
        "Started": record.created,
        "Command": record.command,
        "Storage": record.storage,
        "Threads of a stage": str(record.threads),
    }
    return tuple(facts.items())
