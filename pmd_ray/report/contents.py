"""All that a report says, computed from the artifacts before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pmd_ray.report.arms import Arm, choose
from pmd_ray.report.costs import Bill, CostRow, bill, cost_rows
from pmd_ray.report.evidence import Evidence, gather
from pmd_ray.report.failures import Failure, failures
from pmd_ray.report.forest import Forest, forest
from pmd_ray.report.lines import Chain, chains_of
from pmd_ray.report.numbers import Numbers
from pmd_ray.report.origin import Origin, origin
from pmd_ray.report.plots import Chart, mask_chart, schedule_chart, size_chart
from pmd_ray.report.questions import Answer, answers
from pmd_ray.report.stage_tree import Node, stage_tree
from pmd_ray.report.summary import SummaryRow, summary_rows
from pmd_ray.spec.study_record import StudyRecord

if TYPE_CHECKING:
    from pmd_ray.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What tables, figures and page are made of."""

    record: StudyRecord
    evidence: Evidence
    numbers: Numbers
    arms: tuple[Arm, ...]
    """Every choice of the nuisance settings for every variant."""
    chains: Mapping[str, Chain]
    """By variant, the one that was chosen."""
    answers: tuple[Answer, ...]
    rows: tuple[SummaryRow, ...]
    costs: tuple[CostRow, ...]
    bill: Bill
    failures: tuple[Failure, ...]
    tree: tuple[Node, ...]
    origin: Origin
    charts: tuple[Chart, ...]
    forest: Forest | None


def contents(record: StudyRecord, store: Store) -> Contents:
    """Read a study's artifacts and compute its report.

    Raises:
        UserError: Its artifacts rank different test triples.
        StorageError: The storage does not answer.
    """
    evidence = gather(record, store)
    numbers = Numbers(evidence)
    every = chains_of(record, evidence.why_missing)
    arms = choose(every, evidence.valid_mrr)
    chains = {arm.chain.variant: arm.chain for arm in arms if arm.chosen}
    found = answers(record, chains, values=numbers.values, hits=numbers.hits)
    rows = summary_rows(record, chains, found, evidence=evidence, numbers=numbers)
    naive = sum(len(run.stages) for run in record.runs)
    return Contents(
        record=record,
        evidence=evidence,
        numbers=numbers,
        arms=tuple(arms),
        chains=chains,
        answers=tuple(found),
        rows=tuple(rows),
        costs=tuple(cost_rows([arm.chain for arm in arms if arm.chosen], evidence)),
        bill=bill(record.keys, naive=naive, evidence=evidence),
        failures=tuple(failures(every, evidence)),
        tree=stage_tree(every, evidence),
        origin=origin(evidence),
        charts=_charts(record, chains, rows, numbers),
        forest=forest(found),
    )


def _charts(
    record: StudyRecord, chains: Mapping[str, Chain], rows: list[SummaryRow], numbers: Numbers
) -> tuple[Chart, ...]:
    sizes = {row.line.id: row.result.parameters for row in rows if row.line and row.result}
    shown = list(chains.values())
    drawn = (
        size_chart(shown, sizes, numbers.per_seed),
        schedule_chart(shown, numbers.per_seed),
        mask_chart(record.study, shown, numbers.per_seed),
    )
    return tuple(chart for chart in drawn if chart is not None)
